//! nginx as a reverse proxy for one service, set up to do what HTTP mode does as far as it can.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::LONG;

/// A running nginx.
pub(super) struct Nginx {
    pub(super) address: SocketAddr,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Nginx {
    pub(super) fn start(target: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Free until it is bound: nothing else here takes ports that it was not given.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let path = directory.path().display().to_string();
        let configuration = directory.path().join("nginx.conf");
        std::fs::write(&configuration, configured(&path, address, target)).unwrap();
        let mut nginx = Command::new("nginx");
        nginx.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        nginx.args(["-p", &path, "-e", "stderr", "-c"]).arg(&configuration);
        let child = nginx.stdin(Stdio::null()).spawn();
        let child = child.expect("nginx is there (Debian's package nginx-light)");
        let begin = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(begin.elapsed() < LONG, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { address, child, _directory: directory }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configured(path: &str, address: SocketAddr, target: SocketAddr) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {path}/{name};"))
        .concat();
    format!(
        "daemon off; master_process off; pid {path}/pid; error_log stderr crit;
        events {{ worker_connections 64; }}
        http {{
            access_log off;
            {temporary}
            server_tokens off;
            client_max_body_size 0;
            underscores_in_headers on;
            # No keepalive: nginx sends a request over a connection that the target is closing, and does not try again.
            upstream target {{ server {target}; }}
            server {{
                listen {address};
                location / {{
                    proxy_pass http://target;
                    proxy_http_version 1.1;
                    proxy_set_header Connection \"\";
                    proxy_set_header Host {target};
                    proxy_set_header Expect \"\";
                    proxy_request_buffering off;
                    proxy_next_upstream off;
                    proxy_pass_header Server;
                    proxy_redirect http://{target}/ http://$http_host/;
                    proxy_cookie_domain {} $http_host;
                }}
            }}
        }}",
        target.ip(),
    )
}
