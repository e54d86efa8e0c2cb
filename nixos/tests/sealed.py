# A node whose secrets were never on its disk in the clear: made and sealed in memory, opened at every start with a
# passphrase that systemd keeps encrypted and hands over as a credential. Without the credential nothing is opened. At the
# end the whole disk is searched for the secrets.
#
# The credential is encrypted with a key that lies on this same disk, as the machine has no TPM. That shows the whole way,
# and protects nothing: with a TPM only `--with-key=` is another one.

import base64
import shlex

#: What is secret of a node, and the passphrase of all of it.
FILES = ["hs_ed25519_secret_key", "cluster.token", "wireguard.key", "join.secret"]
CREDENTIAL = "/etc/credstore.encrypted/rustbalance-passphrase"
#: So long is the piece of each secret that is searched for, in bytes: no other file has it by chance.
PIECE = 12
#: What separates the lines in which a disk is searched.
SEPARATORS = {0, 10}


def meaning(name: str, content: bytes) -> bytes:
    """The key or token itself of which a file holds a form."""
    if name == "hs_ed25519_secret_key":
        return content[32:]
    text = content.strip()
    return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_" if name == "join.secret" else None)


def pieces(secret: bytes) -> list[bytes]:
    """A piece of a secret in each form in which it may have been written down: as it is, in hex, in base64."""
    forms = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    # In base64 it looks otherwise where one or two bytes stand before it.
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        forms += [encode(bytes(before) + secret)[4:-4] for before in range(3)]
    found = []
    for form in forms:
        starts = range(len(form) - PIECE)
        found.append(next(form[at : at + PIECE] for at in starts if not SEPARATORS & set(form[at : at + PIECE])))
    return found


def on_disk(wanted: list[bytes]) -> list[str]:
    """Which of these are anywhere on the disk, in a file or in a free block; by their numbers."""
    disk = machine.succeed("findmnt --noheadings --output SOURCE /").strip()
    lines = base64.b64encode(b"".join(piece + b"\n" for piece in wanted)).decode()
    machine.succeed(f"echo {lines} | base64 -d >/run/search", "sync; echo 3 >/proc/sys/vm/drop_caches")
    found = machine.succeed(
        f"tr -s '\\000' '\\n' <{disk} | LC_ALL=C grep --text --only-matching --fixed-strings --file=/run/search "
        "| sort -u | od -An -v -tx1 | tr -d ' \\n'"
    )
    machine.succeed("rm /run/search")
    return [str(number) for number, piece in enumerate(wanted) if piece.hex() in found]


machine.start(allow_reboot=True)

with subtest("a node is made in memory, and sealed before anything of it is on the disk"):
    machine.wait_for_unit("multi-user.target")
    machine.succeed(
        "umask 077; head -c 24 /dev/urandom | base64 | tr -d '\\n' >/run/passphrase",
        "rustbalance init --directory /run/made --target unix:/run/vm-target.sock --endpoint 192.168.1.1:51820",
    )
    clear = {name: base64.b64decode(machine.succeed(f"base64 -w 0 /run/made/{name}")) for name in FILES}
    passphrase = machine.succeed("cat /run/passphrase").encode()
    machine.succeed(f"cd /run/made; rustbalance seal --passphrase-file /run/passphrase {' '.join(FILES)}")

with subtest("the passphrase is encrypted for this machine"):
    machine.succeed(
        "install -d -m 700 /etc/credstore.encrypted",
        f"systemd-creds encrypt --with-key=host --name=rustbalance-passphrase /run/passphrase {CREDENTIAL}",
        "rm /run/passphrase",
    )
    machine.fail(f"grep --text --quiet --fixed-strings {shlex.quote(passphrase.decode())} {CREDENTIAL}")

with subtest("the node serves with what is sealed, now and after a reboot"):
    machine.succeed(
        "sed -i s,/run/made/,/etc/rustbalance/, /run/made/config.toml",
        "cp -r /run/made/. /etc/rustbalance/; rm -r /run/made",
        "systemd-tmpfiles --create rustbalance.conf",
        f"cd /etc/rustbalance; rustbalance seal --check {' '.join(FILES)}",
        "systemctl start rustbalance.target",
    )
    is_serving(machine)
    machine.reboot()
    machine.wait_for_unit("rustbalance.target")
    is_serving(machine)

with subtest("without its credential a daemon does not start, and does by itself once it is there"):
    machine.succeed(f"mv {CREDENTIAL} {CREDENTIAL}.away")
    machine.fail("systemctl restart rustbalance-publisher")
    assert "CREDENTIALS" in machine.succeed("journalctl -b -o cat -u rustbalance-publisher -n 20")
    machine.succeed(f"mv {CREDENTIAL}.away {CREDENTIAL}")
    # Nobody has to tell it.
    machine.wait_until_succeeds("systemctl is-active rustbalance-publisher", timeout=180)
    is_serving(machine)

with subtest("nothing of it is on the disk in the clear"):
    known = machine.succeed("head -c 32 /dev/urandom | base64 | tee /var/tmp/known").encode()
    secrets = [meaning(name, content) for name, content in clear.items()] + [passphrase]
    searched = [known[:PIECE]] + [piece for secret in secrets for piece in pieces(secret)]
    print(f"{len(secrets)} secrets in {len(searched) - 1} forms")
    # The first one was written to the disk on purpose: the search finds it.
    assert on_disk(searched) == ["0"]
