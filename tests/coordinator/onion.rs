//! The onion network as far as joining needs it: a SOCKS port that leads to some node's proxy, whatever is asked for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};

/// Where a node's tor leads.
#[derive(Clone)]
pub struct Onion {
    to: Arc<Mutex<Option<PathBuf>>>,
    isolations: Arc<Mutex<Vec<String>>>,
}

impl Onion {
    /// The SOCKS port of the standby tor of the node in `directory`; it cannot reach anybody yet.
    pub fn new(directory: &Path) -> Self {
        let onion = Self { to: Arc::default(), isolations: Arc::default() };
        let listener = UnixListener::bind(directory.join("b.socks")).unwrap();
        let inner = onion.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(inner.clone().carry(stream));
            }
        });
        onion
    }

    /// Leads to the proxy of the node in this directory from now on.
    pub fn lead_to(&self, directory: &Path) {
        *self.to.lock().unwrap() = Some(directory.join("onion.sock"));
    }

    /// The isolation of every connection that was asked for.
    pub fn isolations(&self) -> Vec<String> {
        self.isolations.lock().unwrap().clone()
    }

    async fn carry(self, mut stream: UnixStream) -> Option<()> {
        let mut greeting = [0; 2];
        stream.read_exact(&mut greeting).await.ok()?;
        let mut methods = vec![0; greeting[1].into()];
        stream.read_exact(&mut methods).await.ok()?;
        stream.write_all(&[5, 2]).await.ok()?;
        assert_eq!(stream.read_u8().await.ok()?, 1);
        let mut user = vec![0; stream.read_u8().await.ok()?.into()];
        stream.read_exact(&mut user).await.ok()?;
        let mut password = vec![0; stream.read_u8().await.ok()?.into()];
        stream.read_exact(&mut password).await.ok()?;
        self.isolations.lock().unwrap().push(String::from_utf8(user).unwrap());
        stream.write_all(&[1, 0]).await.ok()?;
        let mut request = [0; 5];
        stream.read_exact(&mut request).await.ok()?;
        let mut name = vec![0; usize::from(request[4]) + 2];
        stream.read_exact(&mut name).await.ok()?;
        let (name, port) = name.split_at(name.len() - 2);
        assert_eq!((name, port), (crate::node::ADDRESS.as_bytes(), &[0, 80][..]));
        let to = self.to.lock().unwrap().clone();
        let reached = match to {
            Some(to) => UnixStream::connect(to).await.ok(),
            None => None,
        };
        let Some(mut service) = reached else {
            return stream.write_all(&[5, 0xF2, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok();
        };
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
        copy_bidirectional(&mut stream, &mut service).await.ok().map(|_| ())
    }
}

/// A target that has no such page, whatever it is asked.
pub fn target(directory: &Path) {
    let listener = UnixListener::bind(directory.join("target.sock")).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = [0; 4096];
                while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
                }
            });
        }
    });
}
