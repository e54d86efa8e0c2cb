//! Two nodes in network namespaces of their own, joined by a cable (veth), each a process of its own.
//!
//! Every namespace is held by a `cat` that ends when its standard input closes, so a test that fails, or is
//! killed, leaves nothing behind. A node's process is this test binary again, told so by an environment
//! variable; it takes orders as lines of JSON on its standard input and answers on its standard output.
//! `/run` is a file system of each namespace's own: control sockets never meet the host's.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use crate::node::{Answer, MARK, Order, ROLE};

/// Set in a process that already runs in a user namespace made for it.
const INSIDE: &str = "RB_MESH_TEST_INSIDE";

/// Runs a test's body as root of some namespace: at once when we are root, otherwise in a new user namespace,
/// by running this one test again inside of it. Panics with a sentence when neither is possible.
pub(crate) fn with_namespaces(test: &str, body: impl FnOnce()) {
    for program in ["unshare", "nsenter", "ip", "setpriv"] {
        let found = Command::new(program).arg("--help").output();
        assert!(found.is_ok(), "{program} is not installed: apt install util-linux iproute2");
    }
    if nix::unistd::geteuid().is_root() {
        return body();
    }
    assert!(std::env::var_os(INSIDE).is_none(), "not root although in a user namespace of our own");
    let probe = run(Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]));
    assert!(
        probe.status.success(),
        "this test needs network namespaces: run it as root, or allow unprivileged user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces): {}",
        String::from_utf8_lossy(&probe.stderr)
    );
    let again = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(again.unwrap().success(), "the test failed inside of its user namespace, see above");
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// A network namespace with a `/run` of its own, alive as long as this value.
pub(crate) struct Place {
    holder: Child,
}

impl Place {
    pub(crate) fn new() -> Self {
        // From the old mounts nothing is needed: a new /run, and /var/run must lead to it.
        let script = "mount -t tmpfs tmpfs /run && ip link set lo up && echo ready && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "a network namespace could not be made, see above");
        Self { holder }
    }

    /// Two places with a cable between them: `cable` at both ends, 192.168.77.1 and .2, `fd77::1` and `fd77::2`.
    pub(crate) fn pair() -> (Self, Self) {
        let (one, two) = (Self::new(), Self::new());
        let other = two.holder.id().to_string();
        one.ip(&["link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", &other]);
        for (place, n) in [(&one, 1), (&two, 2)] {
            place.ip(&["address", "add", &format!("192.168.77.{n}/24"), "dev", "cable"]);
            place.ip(&["address", "add", &format!("fd77::{n}/64"), "dev", "cable", "nodad"]);
            place.ip(&["link", "set", "cable", "up"]);
        }
        (one, two)
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--net", "--mount", "--"]);
        command
    }

    /// Runs a program in this place.
    pub(crate) fn run(&self, program: &[&str]) -> Output {
        run(self.enter().args(program))
    }

    /// Runs `ip`, which must succeed, and gives what it printed.
    pub(crate) fn ip(&self, arguments: &[&str]) -> String {
        let output = self.run(&[&["ip"], arguments].concat());
        assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a node's process here.
    pub(crate) fn node(&self) -> Node {
        self.node_through(&[])
    }

    /// Starts a node's process here, with a program and its arguments in front.
    pub(crate) fn node_through(&self, wrapper: &[&str]) -> Node {
        let mut child = self
            .enter()
            .args(wrapper)
            .arg(std::env::current_exe().unwrap())
            .args(["node_process", "--exact", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Node { child, orders, answers }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// A node's process.
pub(crate) struct Node {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Node {
    /// Gives an order and waits for its answer.
    pub(crate) fn ask(&mut self, order: &Order) -> Answer {
        self.tell(order);
        self.answer()
    }

    /// Gives an order; its answer is asked for later.
    pub(crate) fn tell(&mut self, order: &Order) {
        writeln!(self.orders, "{}", serde_json::to_string(order).unwrap()).unwrap();
    }

    /// The answer to the oldest unanswered order.
    pub(crate) fn answer(&mut self) -> Answer {
        loop {
            let mut line = String::new();
            let length = self.answers.read_line(&mut line).unwrap();
            assert!(length > 0, "the node's process ended, see above");
            // The test harness prints around it.
            if let Some((_, answer)) = line.split_once(MARK) {
                return serde_json::from_str(answer).unwrap();
            }
        }
    }

    /// Gives an order that must succeed.
    #[track_caller]
    pub(crate) fn must(&mut self, order: &Order) {
        let answer = self.ask(order);
        assert!(matches!(answer, Answer::Done | Answer::Created { .. }), "{order:?}: {answer:?}");
    }

    /// Gives an order that must fail, and gives the reason.
    #[track_caller]
    pub(crate) fn refuses(&mut self, order: &Order) -> String {
        match self.ask(order) {
            Answer::Failed(reason) => reason,
            answer => panic!("{order:?}: {answer:?}"),
        }
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Number of the process, for looking at it in /proc.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
