//! A receiver that lies: it takes what it refuses, refuses what it takes, resets, and says what is no HTTP.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::ledger::Arrivals;
use crate::support::receiver::{Received, read_request};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lie {
    /// None: it takes the request and says 200.
    None,
    /// Resets the connection before it has read anything.
    ResetUnread,
    /// Resets the connection once it has taken the request.
    ResetTaken,
    /// Says 200 and resets the connection at once, as if it were to be kept.
    ResetAnswered,
    /// Says 200 and closes the connection at once, as if it were to be kept.
    CloseAnswered,
    /// Closes in the middle of the head.
    HalfHead,
    /// Says 200 with a body, and closes in the middle of that.
    HalfBody,
    /// Says what is no HTTP.
    Garbage,
    /// Says 500, and has taken it.
    Failure,
    /// Says 102 again and again, for longer than it is waited for.
    Interim,
    /// Says 200, byte by byte.
    SlowHead,
}

impl Lie {
    /// All that are lies.
    pub(crate) const ALL: [Lie; 10] = [
        Lie::ResetUnread,
        Lie::ResetTaken,
        Lie::ResetAnswered,
        Lie::CloseAnswered,
        Lie::HalfHead,
        Lie::HalfBody,
        Lie::Garbage,
        Lie::Failure,
        Lie::Interim,
        Lie::SlowHead,
    ];
}

/// How often it tells the truth.
const TRUTH_SHARE: f64 = 0.5;
/// For how long it says 102.
const INTERIM: Duration = Duration::from_secs(3);

/// Works until the test ends.
#[derive(Clone)]
pub(crate) struct Liar(Arc<Shared>);

struct Shared {
    arrivals: Arrivals,
    random: Mutex<StdRng>,
    told: Mutex<BTreeMap<Lie, usize>>,
}

impl Liar {
    /// One that draws its lies by the seed; its URL.
    pub(crate) async fn start(arrivals: Arrivals, seed: u64) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        let liar = Self(Arc::new(Shared { arrivals, random, told: Mutex::default() }));
        let shared = liar.0.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                // A connection that the sender gave up ends with an error here, as it should.
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        (liar, url)
    }

    /// How often each was told so far.
    pub(crate) fn told(&self) -> BTreeMap<Lie, usize> {
        self.0.told.lock().unwrap().clone()
    }
}

impl Shared {
    fn draw(&self) -> Lie {
        let mut random = self.random.lock().unwrap();
        let is_true = random.random_bool(TRUTH_SHARE);
        if is_true { Lie::None } else { Lie::ALL[random.random_range(0..Lie::ALL.len())] }
    }

    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        while stream.peek(&mut [0]).await? > 0 {
            let lie = self.draw();
            *self.told.lock().unwrap().entry(lie).or_default() += 1;
            if lie == Lie::ResetUnread {
                return stream.set_zero_linger();
            }
            let Some((head, body)) = read_request(&mut stream).await? else { return Ok(()) };
            let received = Received { head, body, at: Instant::now() };
            self.arrivals.record(received.header("webhook-id")[0], &received.body);
            if !lie.tell(&mut stream).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Lie {
    /// Tells it; whether the connection is to be kept.
    async fn tell(self, stream: &mut TcpStream) -> io::Result<bool> {
        match self {
            Lie::None => stream.write_all(OK).await?,
            Lie::Failure => stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await?,
            Lie::ResetUnread | Lie::ResetTaken => stream.set_zero_linger()?,
            Lie::ResetAnswered => {
                stream.write_all(OK).await?;
                stream.set_zero_linger()?;
            }
            Lie::CloseAnswered => stream.write_all(OK).await?,
            Lie::HalfHead => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await?,
            Lie::HalfBody => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nyes").await?,
            Lie::Garbage => stream.write_all(b"\x16\x03\x01 250 OK, thank you\r\n\r\n").await?,
            Lie::Interim => {
                let end = Instant::now() + INTERIM;
                while Instant::now() < end {
                    stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await?;
                    sleep(Duration::from_millis(50)).await;
                }
            }
            Lie::SlowHead => {
                for byte in OK {
                    stream.write_all(&[*byte]).await?;
                    sleep(Duration::from_millis(5)).await;
                }
            }
        }
        Ok(matches!(self, Lie::None | Lie::Failure | Lie::SlowHead))
    }
}
