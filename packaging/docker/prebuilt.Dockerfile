# The image around a static binary that is there already: `make image` makes the binary and this.
FROM scratch
COPY ovs-port-manager /ovs-port-manager
ENTRYPOINT ["/ovs-port-manager"]
CMD ["run"]
