# One node, started by systemd, and its operator: every unit runs, sockets answer while their daemons restart, a changed
# configuration is taken over or refused, and a daemon that can never run is not tried without a pause.
#
# There is no Tor network here: what clients would ask through the onion service is asked where tor would hand it over.

import shlex

CONFIG = "/etc/rustbalance/config.toml"
#: How often in a minute a daemon may be started that can never run: it waits five seconds before it ends.
MOST_STARTS = 12


def configure(change: str) -> None:
    """Changes the configuration as sed says, beginning with the one that the node was made with."""
    machine.succeed(f"cp --preserve=mode,ownership /root/config.toml {CONFIG}; sed -i {shlex.quote(change)} {CONFIG}")


machine.start()

with subtest("boot to serving"):
    machine.wait_for_unit("rustbalance.target")
    is_serving(machine)
    print(machine.succeed("rustbalance status"))

with subtest("sockets answer while their daemon restarts"):
    for daemon in DAEMONS:
        asked_meanwhile(machine, REQUEST, f"systemctl restart {daemon}")
        asked_meanwhile(machine, QUESTION, f"systemctl restart {daemon}")

with subtest("a changed configuration is taken over, a wrong one leaves the old one in force"):
    machine.succeed(f"cp --preserve=mode,ownership {CONFIG} /root/config.toml")
    since = now(machine)
    configure('s,^target = .*,target = "unix:/run/no-such-target.sock",')
    machine.succeed("systemctl reload rustbalance-proxy")
    machine.wait_until_succeeds(said("rustbalance-proxy", since, "taken over: proxy.target"), timeout=60)
    machine.fail(REQUEST)
    configure("")
    machine.succeed("systemctl reload rustbalance-proxy")
    machine.wait_until_succeeds(REQUEST, timeout=60)
    pids = {daemon: main_pid(machine, daemon) for daemon in DAEMONS}
    configure('s,^target = .*,target = "unix:/run/no-such-target.sock",; s,^# level = .*,level = "shout",')
    for daemon in DAEMONS:
        since = now(machine)
        machine.succeed(f"systemctl reload {daemon}")
        refused = "the one from before stays in force: .*config.toml:[0-9]+: log.level"
        machine.wait_until_succeeds(said(daemon, since, refused), timeout=60)
    assert machine.succeed(REQUEST) == "the target\n"
    assert pids == {daemon: main_pid(machine, daemon) for daemon in DAEMONS}

with subtest("a daemon with a wrong configuration is not started without a pause, although others wait for it"):
    configure('s,^# level = .*,level = "shout",')
    since = now(machine)
    machine.fail("systemctl restart rustbalance-publisher")
    machine.sleep(60)
    starts = int(machine.succeed(f"journalctl --since @{since} -o cat -u rustbalance-publisher --grep status=78 | wc -l"))
    print(f"{starts} starts in a minute")
    assert 1 <= starts <= MOST_STARTS, starts
    configure("")
    machine.succeed("systemctl restart rustbalance-publisher")
    is_serving(machine)

with subtest("systemd waits for a reload where it can"):
    for daemon in DAEMONS:
        folder = f"/run/systemd/system/{daemon}.service.d"
        drop_in = f"{folder}/reload.conf"
        machine.succeed(f"mkdir -p {folder}; printf '[Service]\\nType=notify-reload\\nExecReload=\\n' >{drop_in}")
    machine.succeed("systemctl daemon-reload")
    configure('s,^# level = .*,level = "debug",')
    for daemon in DAEMONS:
        since = now(machine)
        machine.succeed(f"systemctl reload {daemon}", said(daemon, since, "taken over: log.level"))
    configure("")
    for daemon in DAEMONS:
        machine.succeed(f"systemctl reload {daemon}; rm /run/systemd/system/{daemon}.service.d/reload.conf")
    machine.succeed("systemctl daemon-reload")
    is_serving(machine)

with subtest("no service has complained about its sandbox"):
    nothing_was_denied(machine)
