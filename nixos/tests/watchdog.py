# One node, whose daemons and tors are killed, frozen, stopped and starved of memory: each comes back, by systemd's watchdog or
# ours, and nobody is refused meanwhile.

machine.start()

with subtest("boot to serving"):
    machine.wait_for_unit("rustbalance.target")
    is_serving(machine)

with subtest("what each part uses is known, beside its limit"):
    metrics = "curl --silent --fail --unix-socket /run/rustbalance/web.sock http://node/metrics"
    for told in (
        *(f'part_memory_limit_bytes{{part="{part}"}} {768 << 20}' for part in ("serving_tor", "standby_tor")),
        *(f'part_memory_limit_bytes{{part="{part}"}} {256 << 20}' for part in ("proxy", "coordinator", "publisher")),
        *(f'part_open_fds{{part="{part}"}} [1-9]' for part in ("proxy", "coordinator", "publisher")),
    ):
        machine.wait_until_succeeds(f"{metrics} | grep --quiet '^rustbalance_{told}'", timeout=60)

with subtest("a killed daemon is back, and nobody was refused"):
    for daemon in DAEMONS:
        # A request that the proxy was just carrying ends with it; nobody else's does.
        kill = f"systemctl kill --signal=KILL {daemon}"
        asked_meanwhile(machine, REQUEST, f"{kill}; sleep 3; {kill}", cut=2 if daemon == "rustbalance-proxy" else 0)
    for unit in [*DAEMONS, *TORS]:
        back_after(machine, unit, f"systemctl kill --signal=KILL {unit}", "signal", within=60)
    is_serving(machine)

with subtest("a frozen daemon is ended by ours or by systemd's watchdog, and comes back"):
    for unit in [*DAEMONS, "rustbalance-tor@b"]:
        back_after(machine, unit, f"systemctl kill --signal=STOP {unit}", "watchdog|signal", within=180)
    is_serving(machine)

with subtest("the watchdog's orders to systemd are carried out"):
    # A new watchdog, as each gives a part few remedies, and every next one later. Systemd would leave a frozen tor for a
    # minute, and one that was stopped for ever.
    machine.succeed("systemctl restart rustbalance-watchdog")
    for deed, order, result in (
        ("kill --signal=STOP", "hangs; tries to kill .*, so that it is started anew", "Failed with result 'signal'"),
        ("stop", "is not there; tries to start", "Started rustbalance-tor@b.service"),
    ):
        since, pid = now(machine), main_pid(machine, "rustbalance-tor@b")
        machine.succeed(f"systemctl {deed} rustbalance-tor@b")
        machine.wait_until_succeeds(said("rustbalance-watchdog", since, order), timeout=180)
        machine.wait_until_succeeds(said("rustbalance-tor@b", since, result), timeout=60)
        machine.wait_for_unit("rustbalance-tor@b.service")
        assert main_pid(machine, "rustbalance-tor@b") not in (0, pid)
        machine.fail(said("rustbalance-watchdog", since, "could not"))
    is_serving(machine)

with subtest("the onion's key is put right and kept private while tor serves"):
    place, master = "/run/rustbalance/onion/a", "/etc/rustbalance/hs_ed25519_secret_key"
    key, pid = f"{place}/hs_ed25519_secret_key", main_pid(machine, "rustbalance-tor@a")
    machine.succeed(f"cp --preserve {key} /run/kept", f"chmod 755 {place}")
    machine.wait_until_succeeds(f"test $(stat --format=%a {place}) = 700", timeout=60)
    # As the timer does every hour.
    machine.succeed("systemctl is-active rustbalance-onion-key.timer", f"truncate --size=50 {key}")
    machine.succeed("systemctl start rustbalance-onion-key", f"cmp {key} /run/kept")
    # The operator's file itself is damaged: told long before tor needs it, and well again with it. Nobody starts anything.
    told = f"{metrics} | grep --quiet '^rustbalance_failure{{failure=.uninstalled_key.'"
    machine.succeed(f"cp --preserve {master} {master}.kept", f"truncate --size=50 {master}")
    machine.wait_until_succeeds(told, timeout=90)
    machine.succeed(f"mv {master}.kept {master}")
    machine.wait_until_fails(told, timeout=90)
    machine.succeed(f"cmp {key} /run/kept", "rm /run/kept")
    assert main_pid(machine, "rustbalance-tor@a") == pid, "tor served all the time"
    is_serving(machine)

with subtest("a daemon without memory is ended, and comes back serving"):
    for daemon in DAEMONS:
        starve = f"systemctl set-property --runtime {daemon} MemoryMax"
        took = back_after(machine, daemon, f"{starve}=4K; sleep 0.5; {starve}=256M", "oom-kill", within=60)
        measured("without memory: it is back", took)
    is_serving(machine)

with subtest("no service has complained about its sandbox"):
    nothing_was_denied(machine)
