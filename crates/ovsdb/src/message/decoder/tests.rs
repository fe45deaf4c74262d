//! Cutting a stream into messages, however it is split, and refusing what is hostile.

use proptest::prelude::*;

use super::*;

fn decoder(message_size: usize, depth: usize) -> Decoder {
    Decoder::new(Limits { message_size, depth })
}

/// Feeds `pieces` and returns all messages.
fn feed<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<String>, DecodeError> {
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.space().extend_from_slice(piece);
        while let Some(frame) = decoder.next_frame()? {
            messages.push(String::from_utf8(frame.to_vec()).unwrap());
        }
    }
    Ok(messages)
}

#[test]
fn several_messages_in_one_piece_are_told_apart() {
    let mut decoder = Decoder::new(Limits::default());
    let messages = feed(&mut decoder, [b" {}\n{\"a\":[1,{}]}{\"b\":2}\t ".as_slice()]).unwrap();
    assert_eq!(messages, ["{}", r#"{"a":[1,{}]}"#, r#"{"b":2}"#]);
}

#[test]
fn brackets_and_quotes_in_strings_are_text() {
    let message = r#"{"a\\":"}]\"{\\","b":"[\\\""}"#;
    let messages = feed(&mut Decoder::new(Limits::default()), [message.as_bytes()]).unwrap();
    assert_eq!(messages, [message]);
}

#[test]
fn only_objects_are_messages() {
    for (text, found) in [("[1]", '['), ("HTTP/1.1 400 Bad Request", 'H'), ("  }", '}')] {
        let error = feed(&mut Decoder::new(Limits::default()), [text.as_bytes()]).unwrap_err();
        assert_eq!(error.to_string(), format!("expected a JSON object, found {found:?}"));
    }
}

#[test]
fn a_message_may_be_as_deep_as_the_limit() {
    let deep = |depth: usize| "{\"a\":".repeat(depth - 1) + "{}" + &"}".repeat(depth - 1);
    assert_eq!(feed(&mut decoder(1000, 8), [deep(8).as_bytes()]).unwrap().len(), 1);
    let error = feed(&mut decoder(1000, 8), [deep(9).as_bytes()]).unwrap_err();
    assert_eq!(error.to_string(), "a message nested deeper than 8 levels");
}

#[test]
fn depth_is_refused_before_the_message_ends() {
    let error = feed(&mut Decoder::new(Limits::default()), ["{".repeat(65).as_bytes()]);
    assert!(matches!(error, Err(DecodeError::TooDeep(64))));
}

#[test]
fn a_message_may_be_as_large_as_the_limit() {
    let large = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
    assert_eq!(feed(&mut decoder(100, 8), [large(100).as_bytes()]).unwrap().len(), 1);
    let error = feed(&mut decoder(100, 8), [large(101).as_bytes()]).unwrap_err();
    assert_eq!(error.to_string(), "a message of more than 100 bytes");
}

#[test]
fn size_is_refused_before_the_message_ends() {
    let pieces =
        std::iter::once(b"{\"".as_slice()).chain(std::iter::repeat(b"xxxxxxxx".as_slice()));
    let error = feed(&mut decoder(100, 8), pieces).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge(100)));
}

#[test]
fn the_limit_is_for_one_message_and_not_for_all() {
    let mut decoder = decoder(100, 8);
    for _ in 0..1000 {
        assert_eq!(feed(&mut decoder, [b"{\"a\":1}".as_slice()]).unwrap().len(), 1);
    }
}

#[test]
fn a_large_message_in_single_bytes_takes_linear_time() {
    // Two million bytes, one at a time: looking at them again with each would take hours.
    let message = format!("{{\"a\":\"{}\"}}", "x".repeat(2_000_000));
    let messages = feed(&mut Decoder::new(Limits::default()), message.as_bytes().chunks(1));
    assert_eq!(messages.unwrap().len(), 1);
}

#[test]
fn the_room_of_a_large_message_is_given_back() {
    let mut decoder = Decoder::new(Limits::default());
    let message = format!("{{\"a\":\"{}\"}}", "x".repeat(8_000_000));
    feed(&mut decoder, [message.as_bytes()]).unwrap();
    assert!(decoder.space().capacity() < 1_000_000);
}

/// JSON with everything in it that could mislead a scanner.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i64>().prop_map(serde_json::Value::from),
        "[a\"\\\\{}\\[\\]\u{e9}\u{1f980}\n]{0,8}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::hash_map("[a\"\\\\{}]{0,4}", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_messages(
        values in proptest::collection::vec(json(), 1..5),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        space in "[ \n\t]{0,3}",
    ) {
        let messages: Vec<String> =
            values.into_iter().map(|value| serde_json::json!({ "m": value }).to_string()).collect();
        let bytes = messages.iter().map(|message| format!("{space}{message}")).collect::<String>();
        let bytes = bytes.into_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        let got = feed(&mut Decoder::new(Limits::default()), pieces).unwrap();
        prop_assert_eq!(got, messages);
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(
        bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\"\\ ".as_slice())], 0..64),
        piece in 1..8_usize,
    ) {
        let mut decoder = decoder(48, 4);
        for piece in bytes.chunks(piece) {
            decoder.space().extend_from_slice(piece);
            loop {
                match decoder.next_frame() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return Ok(()),
                }
            }
        }
    }
}
