//! One table of the replica: its rows, the indexes into them and who wants to hear of changes.
//!
//! Pure but for the channels of its subscribers. Knows nothing of connections.

use std::any::{Any, type_name};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::row::Row;
use crate::update::{FoldError, NewRows, Rows, read_updates};

/// What happened to one row: an insert has no `old`, a delete no `new`.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<R> {
    /// The row's UUID.
    pub uuid: Uuid,
    /// The row before.
    pub old: Option<Arc<R>>,
    /// The row now.
    pub new: Option<Arc<R>>,
}

/// The rows of one table, as the server last told.
///
/// A row never changes; a new one takes its place. So to keep one, or all of them, costs no more
/// than its `Arc`, and no reader holds up the replica:
///
/// ```no_run
/// use std::sync::Arc;
///
/// use ovsdb::Client;
/// use ovsdb::tables::Interface;
///
/// fn of_container(client: &Client, id: &str) -> Vec<Arc<Interface>> {
///     client.read(|replica| {
///         replica.table::<Interface>().by_external_id("container_id", id).cloned().collect()
///     })
/// }
/// ```
#[derive(Debug)]
pub struct Table<R> {
    rows: Rows<R>,
    names: HashMap<String, Uuid>,
    /// By the keys that are indexed.
    external_ids: HashMap<&'static str, Values>,
    subscribers: Vec<mpsc::UnboundedSender<Change<R>>>,
}

/// Which rows have a value for a key of `external_ids`, in order: mostly one.
type Values = HashMap<String, Vec<Uuid>>;

impl<R: Row> Table<R> {
    /// Without rows, with indexes by these keys of `external_ids`.
    pub(crate) fn new(keys: &[&'static str]) -> Self {
        Self {
            rows: HashMap::new(),
            names: HashMap::new(),
            external_ids: keys.iter().map(|key| (*key, HashMap::new())).collect(),
            subscribers: Vec::new(),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<R>> {
        self.rows.values()
    }

    /// The row with this UUID.
    pub fn get(&self, uuid: Uuid) -> Option<&Arc<R>> {
        self.rows.get(&uuid)
    }

    /// The row with this name, in tables that the schema indexes by `name`.
    pub fn by_name(&self, name: &str) -> Option<&Arc<R>> {
        self.get(*self.names.get(name)?)
    }

    /// The rows that have this pair among their `external_ids`, in the order of their UUIDs.
    ///
    /// Goes over all rows, unless the key is indexed
    /// ([`Monitor::index_external_id`](crate::Monitor::index_external_id)).
    pub fn by_external_id(&self, key: &str, value: &str) -> impl Iterator<Item = &Arc<R>> {
        let index = self.external_ids.get(key);
        let indexed = index.and_then(|values| values.get(value)).into_iter().flatten();
        let has = |row: &&Arc<R>| {
            row.external_ids().and_then(|ids| ids.get(key)).is_some_and(|found| found == value)
        };
        let mut others: Vec<_> = match index {
            Some(_) => Vec::new(),
            None => self.rows.values().filter(has).collect(),
        };
        others.sort_unstable_by_key(|row| row.uuid());
        indexed.filter_map(|uuid| self.rows.get(uuid)).chain(others)
    }

    /// All changes from now on, after the rows already there as inserts.
    pub(crate) fn subscribe(&mut self) -> mpsc::UnboundedReceiver<Change<R>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for (uuid, row) in &self.rows {
            let change = Change { uuid: *uuid, old: None, new: Some(Arc::clone(row)) };
            // Can't fail: the receiver is still here.
            let _ = sender.send(change);
        }
        self.subscribers.push(sender);
        receiver
    }

    /// Puts or removes one row. Every change of the table passes here.
    fn set(&mut self, uuid: Uuid, new: Option<Arc<R>>) {
        let old = self.rows.get(&uuid).cloned();
        if old == new {
            return;
        }
        self.index(uuid, old.as_deref(), new.as_deref());
        self.subscribers.retain(|subscriber| {
            subscriber.send(Change { uuid, old: old.clone(), new: new.clone() }).is_ok()
        });
        match new {
            Some(row) => self.rows.insert(uuid, row),
            None => self.rows.remove(&uuid),
        };
    }

    fn index(&mut self, uuid: Uuid, old: Option<&R>, new: Option<&R>) {
        let (old_name, new_name) = (old.and_then(R::name), new.and_then(R::name));
        if old_name != new_name {
            // Within one transaction a name can go from one row to another, in any order.
            if let Some(name) = old_name
                && self.names.get(name) == Some(&uuid)
            {
                self.names.remove(name);
            }
            if let Some(name) = new_name {
                self.names.insert(name.to_owned(), uuid);
            }
        }
        for (key, values) in &mut self.external_ids {
            let value = |row: Option<&R>| row.and_then(R::external_ids)?.get(*key).cloned();
            let (old, new) = (value(old), value(new));
            if old == new {
                continue;
            }
            if let Some(old) = old {
                remove(values, &old, uuid);
            }
            if let Some(new) = new {
                let uuids = values.entry(new).or_insert_with(|| Vec::with_capacity(1));
                if let Err(place) = uuids.binary_search(&uuid) {
                    uuids.insert(place, uuid);
                }
            }
        }
    }
}

/// Forgets that a row has a value, and forgets values that no row has any more.
fn remove(values: &mut Values, value: &str, uuid: Uuid) {
    let Some(uuids) = values.get_mut(value) else {
        return;
    };
    if let Ok(place) = uuids.binary_search(&uuid) {
        uuids.remove(place);
    }
    if uuids.is_empty() {
        values.remove(value);
    }
}

/// A [`Table`] whose row type is forgotten, so that a replica can hold many.
///
/// Changes are staged first, and committed only when all tables could take theirs.
pub(crate) trait AnyTable: Any + Send + Sync {
    /// Reads the changes of one message.
    fn stage(&self, updates: &RawValue) -> Result<Staged, FoldError>;

    /// Reads a snapshot, and finds what differs between the rows and it.
    fn stage_snapshot(&self, snapshot: Option<&RawValue>) -> Result<Staged, FoldError>;

    /// Makes the changes that this table has staged.
    fn commit(&mut self, staged: Staged);
}

/// [`NewRows`] of a table whose row type is forgotten.
pub(crate) type Staged = Box<dyn Any + Send>;

impl<R: Row> AnyTable for Table<R> {
    fn stage(&self, updates: &RawValue) -> Result<Staged, FoldError> {
        Ok(Box::new(read_updates(updates, &self.rows)?))
    }

    fn stage_snapshot(&self, snapshot: Option<&RawValue>) -> Result<Staged, FoldError> {
        let mut rows: NewRows<R> = match snapshot {
            // There are only whole rows in it, that is, no changes of others.
            Some(snapshot) => read_updates(snapshot, &HashMap::new())?,
            None => Vec::new(),
        };
        let mut gone: HashSet<Uuid> = self.rows.keys().copied().collect();
        for (uuid, _) in &rows {
            gone.remove(uuid);
        }
        rows.extend(gone.into_iter().map(|uuid| (uuid, None)));
        Ok(Box::new(rows))
    }

    fn commit(&mut self, staged: Staged) {
        let Ok(mut rows) = staged.downcast::<NewRows<R>>() else { return };
        // Deletions first, so that a subscriber sees a name given up before it sees it taken.
        for (uuid, _) in rows.extract_if(.., |(_, row)| row.is_none()) {
            self.set(uuid, None);
        }
        // For a first snapshot, or many rows at once.
        let more = rows.len().saturating_sub(self.rows.len());
        self.rows.reserve(more);
        self.names.reserve(more);
        for (uuid, row) in *rows {
            self.set(uuid, row);
        }
    }
}

/// Ends a program that asks for a table that it does not follow.
#[expect(clippy::panic, reason = "documented: a mistake in the program, found at its first run")]
pub(crate) fn not_monitored<R: Row>() -> ! {
    panic!("{} of table {} is not among the monitored rows", type_name::<R>(), R::TABLE)
}
