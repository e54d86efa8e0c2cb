//! Authentication to tor (control-spec, sections 3.5, 3.21 and 3.24): choosing a method, and `SAFECOOKIE`. No I/O.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use data_encoding::HEXUPPER_PERMISSIVE;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::tor::error::ControlError;
use crate::tor::quoting::{keyword_argument, unquote, words};
use crate::tor::reply::Reply;

/// Bytes of a cookie, and of each nonce and hash of `SAFECOOKIE`.
pub const COOKIE_BYTES: usize = 32;

/// Where Debian's tor, and a tor with nothing set, leave the cookie. Looked at when the file that tor names is
/// not there, as it happens when tor or we live in a container.
pub const USUAL_COOKIE_FILES: [&str; 2] = ["/run/tor/control.authcookie", "/var/lib/tor/control_auth_cookie"];

/// Keys up to this length go into HMAC as they are.
const SHA256_BLOCK_BYTES: usize = 64;
/// Key of the hash by which tor shows that it knows the cookie.
const SERVER_KEY: &[u8; 56] = b"Tor safe cookie authentication server-to-controller hash";
/// Key of the hash by which we show it.
const CLIENT_KEY: &[u8; 56] = b"Tor safe cookie authentication controller-to-server hash";

/// What `PROTOCOLINFO` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolInfo {
    /// The ways of authentication that tor accepts.
    pub methods: Vec<String>,
    /// Where tor's cookie is; an absolute path.
    pub cookie_file: Option<PathBuf>,
}

impl ProtocolInfo {
    /// Reads the answer to `PROTOCOLINFO`.
    pub fn parse(reply: &Reply) -> Result<Self, ControlError> {
        let what = "it has no AUTH line";
        let line = reply
            .lines
            .iter()
            .find_map(|line| line.text.strip_prefix("AUTH "))
            .ok_or(ControlError::Answer { command: "PROTOCOLINFO", what })?;
        let mut info = Self { methods: Vec::new(), cookie_file: None };
        for word in words(line) {
            match keyword_argument(word) {
                Some(("METHODS", methods)) => info.methods = methods.split(',').map(str::to_owned).collect(),
                Some(("COOKIEFILE", quoted)) => {
                    let path = unquote(quoted).map(|bytes| PathBuf::from(OsString::from_vec(bytes)));
                    info.cookie_file = path.filter(|path| path.is_absolute());
                }
                _ => {}
            }
        }
        Ok(info)
    }

    /// Whether tor accepts a method.
    fn offers(&self, method: &str) -> bool {
        self.methods.iter().any(|offered| offered == method)
    }

    /// The method to use: nothing if tor wants nothing; else the password if there is one; else the cookie,
    /// preferably without disclosing it.
    pub fn choose(&self, has_password: bool) -> Result<Method, ControlError> {
        if self.offers("NULL") {
            Ok(Method::Null)
        } else if has_password && self.offers("HASHEDPASSWORD") {
            Ok(Method::Password)
        } else if !has_password && self.offers("SAFECOOKIE") {
            Ok(Method::SafeCookie)
        } else if !has_password && self.offers("COOKIE") {
            Ok(Method::Cookie)
        } else {
            Err(ControlError::NoUsableAuth { offered: self.methods.clone() })
        }
    }
}

/// A way of authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Tor asks for nothing.
    Null,
    /// The password.
    Password,
    /// Both sides prove that they know the cookie.
    SafeCookie,
    /// The cookie itself is sent. Only for a tor older than 0.2.3, or one that says so: whoever listens there
    /// gets the bytes of a file it has named, which is why nothing but a file of 32 bytes is ever sent.
    Cookie,
}

/// The answer to our `AUTHCHALLENGE`, checked: what to send with `AUTHENTICATE`. Fails unless the peer has
/// shown that it knows the cookie.
pub fn answer_challenge(
    cookie: &[u8; COOKIE_BYTES],
    client_nonce: &[u8; COOKIE_BYTES],
    reply: &Reply,
) -> Result<Zeroizing<[u8; COOKIE_BYTES]>, ControlError> {
    let field = |name| {
        words(reply.text())
            .filter_map(keyword_argument)
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| HEXUPPER_PERMISSIVE.decode(value.as_bytes()).ok())
            .filter(|bytes| bytes.len() == COOKIE_BYTES)
    };
    let (Some(server_hash), Some(server_nonce)) = (field("SERVERHASH"), field("SERVERNONCE")) else {
        return Err(ControlError::Answer { command: "AUTHCHALLENGE", what: "hash or nonce is missing" });
    };
    keyed_hash(SERVER_KEY, cookie, client_nonce, &server_nonce)
        .verify_slice(&server_hash)
        .map_err(|_| ControlError::WrongServerHash)?;
    let hash = keyed_hash(CLIENT_KEY, cookie, client_nonce, &server_nonce).finalize().into_bytes();
    Ok(Zeroizing::new(hash.into()))
}

/// `HMAC-SHA256(key, cookie | client nonce | server nonce)`.
fn keyed_hash<const N: usize>(key: &[u8; N], cookie: &[u8], client: &[u8], server: &[u8]) -> Hmac<Sha256> {
    const { assert!(N <= SHA256_BLOCK_BYTES, "a longer key would have to be hashed first") };
    let mut block = [0; SHA256_BLOCK_BYTES];
    block[..N].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in [cookie, client, server] {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tor::reply::ReplyLine;

    fn reply(lines: &[&str]) -> Reply {
        let lines = lines.iter().map(|text| ReplyLine { text: (*text).to_owned(), data: None }).collect();
        Reply { status: 250, lines }
    }

    fn protocol_info(auth: &str) -> ProtocolInfo {
        ProtocolInfo::parse(&reply(&["PROTOCOLINFO 1", auth, "VERSION Tor=\"0.4.9.11\"", "OK"])).unwrap()
    }

    #[test]
    fn methods_and_cookie_file_are_read() {
        let info = protocol_info(r#"AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE="/run/a \"b\\c/cookie" X"#);
        assert_eq!(info.methods, ["COOKIE", "SAFECOOKIE"]);
        assert_eq!(info.cookie_file.unwrap().to_str(), Some(r#"/run/a "b\c/cookie"#));
        assert_eq!(protocol_info(r#"AUTH METHODS=COOKIE COOKIEFILE="relative""#).cookie_file, None);
        assert!(ProtocolInfo::parse(&reply(&["PROTOCOLINFO 1", "OK"])).is_err());
    }

    #[test]
    fn the_least_disclosing_method_is_chosen() {
        for (methods, with_password, without) in [
            ("NULL", Some(Method::Null), Some(Method::Null)),
            ("COOKIE,SAFECOOKIE", None, Some(Method::SafeCookie)),
            ("COOKIE,SAFECOOKIE,HASHEDPASSWORD", Some(Method::Password), Some(Method::SafeCookie)),
            ("COOKIE", None, Some(Method::Cookie)),
            ("HASHEDPASSWORD", Some(Method::Password), None),
            ("FUTURE", None, None),
        ] {
            let info = protocol_info(&format!("AUTH METHODS={methods}"));
            assert_eq!(info.choose(true).ok(), with_password, "{methods}");
            assert_eq!(info.choose(false).ok(), without, "{methods}");
        }
    }

    /// Computed with Python's `hmac` from cookie 00 01 … 1f, client nonce 32 × 0xaa, server nonce 32 × 0xbb.
    const SERVER_HASH: &str = "7780BA467C566548B61DA5B927043DF643CC6FB18E6258718F47591A09909213";
    const CLIENT_HASH: &str = "ECD5845C1ED9B11354FED620D989E9F34243606E0F7F97C0F3C8A9303A06D468";

    fn answer(hash: &str, nonce: &str) -> Result<Zeroizing<[u8; COOKIE_BYTES]>, ControlError> {
        let cookie = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let text = format!("AUTHCHALLENGE SERVERHASH={hash} SERVERNONCE={nonce}");
        answer_challenge(&cookie, &[0xaa; 32], &reply(&[&text]))
    }

    #[test]
    fn both_sides_prove_the_cookie() {
        let nonce = "BB".repeat(32);
        let ours = answer(SERVER_HASH, &nonce).unwrap();
        assert_eq!(data_encoding::HEXUPPER.encode(&*ours), CLIENT_HASH);
        assert!(matches!(answer(CLIENT_HASH, &nonce), Err(ControlError::WrongServerHash)));
        assert!(matches!(answer(SERVER_HASH, &"BC".repeat(32)), Err(ControlError::WrongServerHash)));
        for (hash, nonce) in [("", nonce.as_str()), (SERVER_HASH, ""), (SERVER_HASH, "BB"), ("zz", "zz")] {
            assert!(matches!(answer(hash, nonce), Err(ControlError::Answer { .. })), "{hash} {nonce}");
        }
    }
}
