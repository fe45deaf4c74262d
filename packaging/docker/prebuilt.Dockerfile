# The image around a static binary that is there already: `make image` makes the binary and this.
FROM scratch
COPY ovs-port-manager /ovs-port-manager
LABEL org.opencontainers.image.title="ovs-port-manager" \
      org.opencontainers.image.description="Gives labelled Docker containers their ports on Open vSwitch bridges" \
      org.opencontainers.image.source="https://github.com/ovs-port-manager/ovs-port-manager" \
      org.opencontainers.image.licenses="MIT"
ENTRYPOINT ["/ovs-port-manager"]
CMD ["run"]
