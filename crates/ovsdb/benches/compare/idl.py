"""The turns of the Python IDL: idl.py load|each|together SOCKET."""

import sys
import time

import ovs.db.idl
import ovs.poller

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PORTS = 200
INTERFACES = 2000
COLUMNS = {
    "Open_vSwitch": ["bridges", "other_config", "external_ids", "ovs_version", "db_version",
                     "next_cfg", "cur_cfg", "datapath_types"],
    "Bridge": ["name", "ports", "datapath_type", "fail_mode", "external_ids", "other_config"],
    "Port": ["name", "interfaces", "tag", "trunks", "vlan_mode", "external_ids", "other_config"],
    "Interface": ["name", "type", "ofport", "ofport_request", "error", "mac_in_use",
                  "admin_state", "link_state", "ifindex", "external_ids", "mtu", "mtu_request"],
}


def connect(socket):
    helper = ovs.db.idl.SchemaHelper(SCHEMA)
    for table, columns in COLUMNS.items():
        helper.register_columns(table, columns)
    idl = ovs.db.idl.Idl("unix:" + socket, helper)
    while not idl.has_ever_connected():
        if not idl.run():
            poller = ovs.poller.Poller()
            idl.wait(poller)
            poller.block()
    return idl


def add_port(idl, txn, number):
    bridge = next(iter(idl.tables["Bridge"].rows.values()))
    interface = txn.insert(idl.tables["Interface"])
    interface.name = "p%d" % number
    port = txn.insert(idl.tables["Port"])
    port.name = "p%d" % number
    port.interfaces = [interface]
    bridge.addvalue("ports", port)


def commit(txn):
    status = txn.commit_block()
    assert status == ovs.db.idl.Transaction.SUCCESS, status


def each(idl):
    for number in range(PORTS):
        txn = ovs.db.idl.Transaction(idl)
        add_port(idl, txn, number)
        commit(txn)


def together(idl):
    txn = ovs.db.idl.Transaction(idl)
    for number in range(PORTS):
        add_port(idl, txn, number)
    commit(txn)


def peak_memory():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024


def main(what, socket):
    start = time.perf_counter()
    idl = connect(socket)
    if what == "load":
        assert len(idl.tables["Interface"].rows) == INTERFACES
    else:
        start = time.perf_counter()
        {"each": each, "together": together}[what](idl)
    print(time.perf_counter() - start, peak_memory())


main(*sys.argv[1:])
