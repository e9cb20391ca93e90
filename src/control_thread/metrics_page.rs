//! The page for scrapers and probes: `/metrics`, `/livez`, `/readyz` over HTTP/1.1 at `metrics.listener`.
//!
//! In: connections of whoever can reach the address. Out: text. Nothing else is answered, nothing is changed, and a request
//! that is no HTTP ends its connection with 400. It has a thread of its own: it must answer while logs are recovered, and a page
//! of many partitions takes milliseconds that commands should not wait for.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

use crate::control_thread::health::Health;
use crate::io_thread::DirectoryState;
use crate::metadata::{Image, SharedImage};
use crate::metrics::Registry;
use crate::reactor::direct;

/// Connections served at a time; more wait.
const CONNECTIONS_MAX: usize = 32;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often turns are looked at, so that a stuck reactor is known when somebody asks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the page shows.
pub struct Page {
    pub registry: Arc<Registry>,
    pub health: Arc<Health>,
    /// Empty until the logs are open.
    pub broker: arc_swap::ArcSwapOption<Broker>,
}

/// The part of it that exists once the logs are open.
pub struct Broker {
    pub image: SharedImage,
    pub directories: Vec<Arc<DirectoryState>>,
}

/// The running page; it ends when this is dropped.
pub struct PageServer {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for PageServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Serves the page at an address that is already bound.
pub fn serve(listener: TcpListener, page: Arc<Page>) -> io::Result<PageServer> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        runtime.block_on(async move {
            tokio::select! {
                () = accept(listener, page) => {}
                _ = stopped => {}
            }
        });
    })?;
    Ok(PageServer { address, stop: Some(stop), thread: Some(thread) })
}

async fn accept(listener: TcpListener, page: Arc<Page>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the metrics page cannot be served: {error}"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let socket = tokio::select! {
            _ = looks.tick() => {
                // What it says is for whoever asks; here it only takes note of the turns.
                let _ = page.health.is_live(Instant::now());
                continue;
            }
            (place, socket) = async { (place.await, listener.accept().await) } => match socket {
                Ok((socket, _)) => (place, socket),
                Err(error) => {
                    tracing::warn!("a connection to the metrics page could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let page = Arc::clone(&page);
        tokio::spawn(async move {
            let (_place, socket) = socket;
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(&page, request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(response) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(socket), service)
                .await;
            if let Err(error) = served {
                tracing::debug!("a connection to the metrics page ended: {error}");
            }
        });
    }
}

fn answer(page: &Page, method: &Method, path: &str) -> Response<Full<Bytes>> {
    // The version of the text format that scrapers ask for by this name.
    const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
    const PLAIN: &str = "text/plain; charset=utf-8";
    let probe = |verdict: Result<(), String>| match verdict {
        Ok(()) => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
    };
    let known = matches!(path, "/metrics" | "/livez" | "/readyz");
    let readable = matches!(*method, Method::GET | Method::HEAD);
    let (status, kind, text) = match path {
        _ if known && !readable => {
            (StatusCode::METHOD_NOT_ALLOWED, PLAIN, format!("{method} is not served here: use GET\n"))
        }
        "/metrics" => (StatusCode::OK, METRICS, page.text()),
        "/livez" => probe(page.health.is_live(Instant::now())),
        "/readyz" => probe(page.health.is_ready()),
        _ => (StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /livez and /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

impl Page {
    fn text(&self) -> String {
        if let Some(broker) = &*self.broker.load() {
            self.gauges(&broker.image.load(), &broker.directories);
        }
        self.registry.page(direct::now())
    }

    /// What follows from the metadata, counted when somebody asks.
    fn gauges(&self, image: &Image, directories: &[Arc<DirectoryState>]) {
        let gauges = &self.registry.broker;
        let partitions = image.topics().flat_map(|topic| topic.partitions.iter());
        let (mut here, mut led, mut short, mut offline) = (0, 0, 0, 0);
        for partition in partitions {
            here += i64::from(partition.replica.is_some());
            led += i64::from(partition.leader == Some(image.cluster().this_broker));
            short += i64::from(partition.isr.len() < partition.replicas.len());
            offline += i64::from(partition.leader.is_none());
        }
        gauges.partition_count.set(here);
        gauges.leader_count.set(led);
        gauges.under_replicated_partitions.set(short);
        gauges.offline_partitions.set(offline);
        gauges.offline_replicas.set(offline);
        gauges.topics.set(image.topics().count() as i64);
        let is_controller = image.cluster().controller == Some(image.cluster().this_broker);
        gauges.active_controllers.set(i64::from(is_controller));
        let failed = directories.iter().filter(|directory| directory.has_failed()).count();
        gauges.offline_log_directories.set(failed as i64);
    }
}
