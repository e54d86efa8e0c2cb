"""The target and the three proxies in front of it, each set up to exchange the target's name for the client's."""

import pathlib
import subprocess
import time
import urllib.request

#: What the target calls itself, and what clients call the service.
OWN, PUBLIC = "target.example", "service.example"
TARGET_PORT, FIRST_PORT = 19000, 19001
#: How long a program may take to listen.
START_SECONDS = 10
#: Connections that each of them has room for.
ROOM = 4096


class Program:
    """A running program."""

    def __init__(self, command: list[str], port: int, log: pathlib.Path):
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file)
        self.port = port
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.get().close()
                return
            except OSError as error:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise SystemExit(f"{command[0]} does not answer: {error}\n{log.read_text()}") from error
                time.sleep(0.05)

    def get(self):
        """Asks for the small body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/1024", headers={"Host": PUBLIC})
        return urllib.request.urlopen(request, timeout=START_SECONDS)

    def pids(self) -> list[int]:
        """The process and its children."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, children.split())]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def nginx(folder: pathlib.Path, name: str, port: int, workers: int, http: str) -> Program:
    temporary = "".join(
        f"{kind}_temp_path {folder}/{name}.{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = folder / f"{name}.conf"
    path.write_text(
        f"daemon off; worker_processes {workers}; pid {folder}/{name}.pid; error_log stderr crit;"
        f" events {{ worker_connections {2 * ROOM}; }}"
        f" http {{ access_log off; keepalive_requests 100000000; {temporary} {http} }}\n"
    )
    command = ["/usr/sbin/nginx", "-p", str(folder), "-e", "stderr", "-c", str(path)]
    return Program(command, port, folder / f"{name}.log")


def target(folder: pathlib.Path, bodies: dict[str, int]) -> Program:
    """Serves the bodies from files, with headers in which it names itself."""
    # Started by root, nginx reads as another user.
    folder.chmod(0o755)
    for length in bodies.values():
        (folder / str(length)).write_bytes(bytes(length))
    headers = (
        f'add_header Location "http://{OWN}/next"; add_header Set-Cookie "a=b; Domain={OWN}; Path=/";'
        ' add_header Cache-Control "max-age=60"; add_header X-Frame-Options "DENY";'
    )
    return nginx(
        folder,
        "target",
        TARGET_PORT,
        1,
        f"server {{ listen 127.0.0.1:{TARGET_PORT} backlog={ROOM}; root {folder}; {headers} }}",
    )


def ours(folder: pathlib.Path, program: pathlib.Path) -> Program:
    port = FIRST_PORT
    path = folder / "rustbalance.toml"
    path.write_text(
        f'[ipc]\ndirectory = "{folder}"\n[log]\njournal = false\n[proxy]\nlisten = "127.0.0.1:{port}"\n'
        f'target = "http://127.0.0.1:{TARGET_PORT}"\nmode = "http"\nhost = "{OWN}"\nmax_connections = {ROOM}\n'
    )
    return Program([str(program), "--config", str(path)], port, folder / "rustbalance.log")


def haproxy(folder: pathlib.Path, _: pathlib.Path) -> Program:
    port = FIRST_PORT + 1
    path = folder / "haproxy.cfg"
    path.write_text(
        f"global\n maxconn {2 * ROOM}\n"
        "defaults\n mode http\n timeout connect 30s\n timeout client 120s\n timeout server 120s\n"
        f"listen all\n bind 127.0.0.1:{port} backlog {ROOM}\n"
        f" http-request set-header Host {OWN}\n"
        f" http-response replace-header Location http://{OWN}(.*) http://{PUBLIC}\\1\n"
        f" http-response replace-header Set-Cookie (.*)Domain={OWN}(.*) \\1Domain={PUBLIC}\\2\n"
        f" server target 127.0.0.1:{TARGET_PORT}\n"
    )
    return Program(["/usr/sbin/haproxy", "-db", "-f", str(path)], port, folder / "haproxy.log")


def nginx_proxy(folder: pathlib.Path, _: pathlib.Path) -> Program:
    port = FIRST_PORT + 2
    return nginx(
        folder,
        "nginx",
        port,
        2,
        f"upstream target {{ server 127.0.0.1:{TARGET_PORT}; keepalive 1000; }}"
        f" server {{ listen 127.0.0.1:{port} backlog={ROOM}; location / {{ proxy_pass http://target;"
        f' proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host {OWN};'
        f" proxy_redirect http://{OWN}/ http://$host/; proxy_cookie_domain {OWN} $host; }} }}",
    )


PROXIES = {"rustbalance": ours, "HAProxy": haproxy, "nginx": nginx_proxy}


def check(name: str, proxy: Program) -> None:
    """Who does not exchange the names is not compared."""
    with proxy.get() as response:
        headers = str(response.headers)
    if OWN in headers or headers.count(PUBLIC) != 2:
        raise SystemExit(f"{name} does not exchange the names:\n{headers}")
