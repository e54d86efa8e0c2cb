//! Responses.

use super::Verdict::{Differs, Same};
use super::{Case, PUBLIC, Verdict};

/// Why some of what a target says comes to something else.
const LAST_PAGE: &str = "our own page is the last response on a connection";
const NOT_HTTP: &str = "this is no response of HTTP/1; nginx takes it for something";
const OWN_NAME: &str = "the target's name does not reach a client";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let get = format!("GET /x HTTP/1.1\r\nHost: {PUBLIC}\r\n\r\n");
    let statuses = STATUSES.iter().map(|(status, verdict)| {
        (format!("HTTP/1.1 {status}\r\nX-Target: 1\r\nContent-Length: 2\r\n\r\nok"), false, *verdict)
    });
    let headers = HEADERS.iter().map(|(headers, verdict)| {
        (
            format!("HTTP/1.1 200 OK\r\nX-Target: 1\r\nContent-Length: 2\r\n{headers}\r\n\r\nok"),
            false,
            *verdict,
        )
    });
    let kept = KEPT.iter().map(|(response, verdict)| ((*response).to_owned(), false, *verdict));
    let closed = CLOSED.iter().map(|(response, verdict)| ((*response).to_owned(), true, *verdict));
    statuses
        .chain(headers)
        .chain(kept)
        .chain(closed)
        .map(|(response, closes, verdict)| Case { request: get.clone(), response, closes, verdict })
        .collect()
}

/// Status and reason of a response with a body.
const STATUSES: &[(&str, Verdict)] = &[
    ("200 OK", Same),
    ("201 Created", Same),
    ("202 Accepted", Same),
    ("206 Partial Content", Same),
    ("299 Whatever", Same),
    ("300 Multiple Choices", Same),
    ("400 Bad Request", Same),
    ("401 Unauthorized", Same),
    ("403 Forbidden", Same),
    ("404 Not Found", Same),
    ("405 Method Not Allowed", Same),
    ("418 I'm a teapot", Same),
    ("429 Too Many Requests", Same),
    ("451 Unavailable For Legal Reasons", Same),
    ("500 Internal Server Error", Same),
    ("502 Bad Gateway", Same),
    ("503 Service Unavailable", Same),
    ("599 Odd", Same),
    ("200", Differs("the reason may be missing; nginx makes a status of none of it")),
    ("200 ", Same),
    ("999 Beyond", Same),
];

/// Among the headers of a response with a body of two bytes.
const HEADERS: &[(&str, Verdict)] = &[
    ("X-Any: thing", Same),
    ("X-Twice: 1\r\nX-Twice: 2", Same),
    ("X-Any:", Same),
    ("X-Any : thing", Differs(LAST_PAGE)),
    ("X_Any: thing", Same),
    ("X-Any: é", Same),
    ("no colon", Differs(LAST_PAGE)),
    ("X-Any: a\r\n folded", Differs(LAST_PAGE)),
    ("Content-Type: text/html; charset=utf-8", Same),
    ("Content-Encoding: gzip", Same),
    ("ETag: \"a\"", Same),
    ("Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT", Same),
    ("Cache-Control: no-store\r\nExpires: 0\r\nPragma: no-cache", Same),
    ("Vary: Accept-Encoding", Same),
    ("WWW-Authenticate: Basic realm=\"x\"", Same),
    ("Location: http://§/next", Same),
    ("Location: /next", Same),
    ("Location: next?x=y#z", Same),
    ("Location: //§/next", Differs(OWN_NAME)),
    ("Location: http://other.example/next", Same),
    ("Location: http://other.example/?to=http://§/", Differs(OWN_NAME)),
    ("Refresh: 5; url=http://§/next", Same),
    ("Content-Location: http://§/next", Differs(OWN_NAME)),
    ("Link: <http://§/style.css>; rel=preload", Differs(OWN_NAME)),
    ("Set-Cookie: a=b", Same),
    ("Set-Cookie: a=b; Path=/; HttpOnly; Max-Age=60", Same),
    ("Set-Cookie: a=b; Domain=127.0.0.1", Same),
    ("Set-Cookie: a=b; domain=127.0.0.1; Path=/", Differs("the same in other words")),
    (
        "Set-Cookie: a=b; Domain=.127.0.0.1",
        Differs("the same in other words: the dot says nothing (RFC 6265 section 5.2.3)"),
    ),
    ("Set-Cookie: a=b; Domain=other.example", Same),
    ("Set-Cookie: a=b; Secure; SameSite=None", Same),
    ("Set-Cookie: a=b\r\nSet-Cookie: c=d; Domain=127.0.0.1", Same),
    ("Set-Cookie: to=http://§/", Same),
    ("Access-Control-Allow-Origin: http://§", Differs(OWN_NAME)),
    ("Access-Control-Allow-Origin: *", Same),
    ("Content-Security-Policy: default-src 'self'", Same),
    ("Content-Security-Policy: img-src http://§", Differs(OWN_NAME)),
    (
        "Content-Security-Policy: upgrade-insecure-requests; img-src *",
        Differs("an onion service has no TLS to upgrade to"),
    ),
    (
        "Strict-Transport-Security: max-age=31536000",
        Differs("true of the target, and not of the onion service"),
    ),
    ("Alt-Svc: h3=\":443\"", Differs("true of the target, and not of the onion service")),
    ("Onion-Location: http://§/", Differs("true of the target, and not of the onion service")),
    ("Connection: close", Same),
    ("Connection: X-Hop\r\nX-Hop: 1", Differs("for this hop only (RFC 9110 section 7.6.1)")),
    ("Keep-Alive: timeout=5", Same),
    ("Upgrade: h2c", Differs("for this hop only (RFC 9110 section 7.6.1)")),
    ("Proxy-Authenticate: Basic", Differs("for this hop only (RFC 9110 section 7.6.1)")),
    ("Via: 1.1 inner", Same),
    ("Age: 5", Same),
    ("Trailer: X", Same),
    ("Content-Length: 2", Same),
    ("X-Accel-Redirect: /other", Differs("an order to nginx")),
    ("X-Accel-Buffering: no", Differs("an order to nginx")),
];

/// Whole responses after which the target keeps its connection open.
const KEPT: &[(&str, Verdict)] = &[
    ("HTTP/1.1 204 No Content\r\nX-Target: 1\r\n\r\n", Same),
    ("HTTP/1.1 304 Not Modified\r\nX-Target: 1\r\nETag: \"a\"\r\n\r\n", Same),
    (
        "HTTP/1.1 304 Not Modified\r\nX-Target: 1\r\nContent-Length: 10\r\n\r\n",
        Differs("a length without a body may be left out (RFC 9110 section 8.6)"),
    ),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nContent-Length: 0\r\n\r\n", Same),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Same),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\n\r\n", Same),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Same),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Same),
    (
        "HTTP/1.1 200 OK\r\nX-Target: 1\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Same,
    ),
    (
        "HTTP/1.1 200 OK\r\nX-Target: 1\r\nContent-Length: 02\r\n\r\nok",
        Differs("passed on as the target wrote it"),
    ),
];

/// What a target says before it closes its connection.
const CLOSED: &[(&str, Verdict)] = &[
    ("", Differs(LAST_PAGE)),
    ("HTTP", Differs(LAST_PAGE)),
    ("HTTP/1.1 200 OK\r\nX-Targ", Differs(LAST_PAGE)),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\n\r\nuntil the end", Same),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\n\r\n", Same),
    ("HTTP/1.0 200 OK\r\nX-Target: 1\r\n\r\nold", Same),
    ("HTTP/1.0 200 OK\r\nX-Target: 1\r\nContent-Length: 3\r\n\r\nold", Same),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", Same),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nContent-Length: 5\r\n\r\nok", Same),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nContent-Length: 1\r\n\r\nok", Same),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", Same),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok", Same),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n", Same),
    (
        "HTTP/1.1 200 OK\r\nX-Target: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX\r\n0\r\n\r\n",
        Differs("what was right so far had been passed on"),
    ),
    ("HTTP/1.1 200 OK\nX-Target: 1\nContent-Length: 2\n\nok", Same),
    ("HTTP/2.0 200 OK\r\nX-Target: 1\r\nContent-Length: 2\r\n\r\nok", Differs(NOT_HTTP)),
    ("HTTP/1.2 200 OK\r\nX-Target: 1\r\nContent-Length: 2\r\n\r\nok", Differs(NOT_HTTP)),
    ("HTTP/1.1 99 Too short\r\nX-Target: 1\r\nContent-Length: 2\r\n\r\nok", Differs(NOT_HTTP)),
    ("HTTP/1.1 2000 Too long\r\nX-Target: 1\r\nContent-Length: 2\r\n\r\nok", Differs(NOT_HTTP)),
    ("HTTP/1.1 abc Letters\r\nX-Target: 1\r\nContent-Length: 2\r\n\r\nok", Differs(NOT_HTTP)),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nContent-Length: two\r\n\r\nok", Differs(LAST_PAGE)),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nContent-Length: -2\r\n\r\nok", Differs(LAST_PAGE)),
    (
        "HTTP/1.1 200 OK\r\nX-Target: 1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        Differs(LAST_PAGE),
    ),
    ("HTTP/1.1 200 OK\r\nX-Target: 1\r\nTransfer-Encoding: gzip\r\n\r\nok", Same),
    (
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nX-Target: 1\r\nContent-Length: 2\r\n\r\nok",
        Differs("an interim response may be left out; nginx takes it for the last one"),
    ),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Target: 1\r\nContent-Length: 2\r\n\r\nok",
        Differs("an interim response may be left out; nginx takes it for the last one"),
    ),
    ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Differs(NOT_HTTP)),
    ("SSH-2.0-OpenSSH\r\n", Differs(NOT_HTTP)),
    ("<html>ok</html>", Differs(NOT_HTTP)),
    ("\0\u{1}\u{2}", Differs(NOT_HTTP)),
];
