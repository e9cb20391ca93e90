//! The broker: from settings to threads that serve, and back.
//!
//! In: settings. Out: a running broker, and an exit code when it has stopped. Reading order: `run`, then `startup` (what is
//! on disk), `placement` (which loop on which core), `reactor_thread` (a turn), `background` (file work that may wait), `cleaner` (compaction).

use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use tokio::sync::mpsc::UnboundedSender;

use crate::api::command::ReplyTo;
use crate::broker::background::{Background, DirectiveSender, Homes, direct_to};
use crate::broker::cleaner::{Cleaner, CleanerPoints};
use crate::broker::placement::{Placement, place};
use crate::broker::reactor_thread::{Directive, Message, Parts, Peer, Reactor};
use crate::broker::startup::{Prepared, StartError, prepare, random_numbers};
use crate::config::{self, Config, LOG_WINDOW_DIRTY_BYTES, LOG_WINDOW_RESIDENT_BYTES, ReactorEngine};
use crate::control_thread::health::Health;
use crate::control_thread::metrics_page::{self, Page, PageServer};
use crate::control_thread::{self, ControlHandle, Reply};
use crate::ids::{BrokerId, ReactorId};
use crate::io_thread::order::{Closed, Order};
use crate::io_thread::{DirectoryState, IoLoop, Surroundings};
use crate::log::directory::LogDirectory;
use crate::log::window::WindowLimits;
use crate::metadata::publish::{self, TopicConfigs};
use crate::metadata::store::Store;
use crate::metadata::{
    Broker as BrokerFacts, Cluster, Difference, Endpoint, Image, Replicas, SharedImage, State,
};
use crate::metrics::{Registry, ThreadMetrics};
use crate::network_thread::{NetworkLoop, whole_frame};
use crate::reactor::choice::{self, Kind};
use crate::reactor::mailbox::{Receiver, Sender, Sleeper, mailbox};
use crate::reactor::ring::RingOptions;
use crate::reactor::{File, OsDisk, Socket, Waker, direct, pin};
use crate::replication::InSyncProposal;
use crate::wire::version::ApiKey;

pub mod background;
pub mod cleaner;
pub mod placement;
pub mod reactor_thread;
mod settings;
mod startup;

/// Messages a mailbox holds; what does not fit waits with the sender.
const MAILBOX_MESSAGES: usize = 1024;
/// How long connections may take to finish at a clean stop.
const DRAIN_MAX: Duration = Duration::from_millis(1500);

/// A bound listener.
struct Bound {
    socket: Socket,
    name: Arc<str>,
    address: SocketAddr,
}

/// Runs a broker until SIGTERM or SIGINT. Returns the exit code (`FAULTS.md` section 10): 0 clean, 1 run-time failure,
/// 2 settings, 3 machine, 4 log directory locked or foreign.
pub fn run(config: Config) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("the control thread cannot start: {error}");
            return 1;
        }
    };
    match runtime.block_on(serve(Arc::new(config))) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("the broker does not start: {error}");
            error.exit_code()
        }
    }
}

async fn serve(config: Arc<Config>) -> Result<u8, StartError> {
    let began = std::time::Instant::now();
    direct::ignore_file_size_signal();
    let cores = cores(&config)?;
    let placement = place(config.num_network_threads, config.num_io_threads, &cores);
    tracing::info!("{}", placement.describe(config.num_network_threads, config.num_io_threads));
    let open_files = direct::raise_open_files_limit()
        .map_err(|error| StartError::Machine(format!("the limit of open files cannot be raised: {error}")))?;
    if open_files < 4096 {
        tracing::warn!(open_files, "few open files are allowed: a partition takes one (ulimit -n)");
    }
    let kind = engine_kind(&config, &placement)?;
    // Bound first: a port in use is told before a long recovery, and clients that come early wait in the backlog.
    let listeners = bind(&config)?;
    let registry = Registry::new();
    let health = Health::new(Arc::clone(&registry));
    let page = Arc::new(Page {
        registry: Arc::clone(&registry),
        health: Arc::clone(&health),
        broker: arc_swap::ArcSwapOption::empty(),
    });
    let page_server = config.metrics_listener.as_ref().map(|at| serve_page(at, &page)).transpose()?;
    health.starting("the log directories are being opened and recovered");
    let (directories, owner) = startup::open_directories(&config)?;
    let host = Host { cores, kind, listeners, registry, health, page, page_server, began };
    match &config.zookeeper {
        None => {
            let (store, is_new) = startup::open_embedded(&config, &owner)?;
            serve_from(host, prepare(&config, directories, store, is_new).await?).await
        }
        Some(settings) => {
            host.health.starting("ZooKeeper is being asked for the cluster's metadata");
            let endpoints = endpoints(&config, &host.listeners);
            let store = startup::open_zookeeper(&config, settings, &owner, &endpoints).await?;
            host.health.starting("the logs are being opened and recovered");
            serve_from(host, prepare(&config, directories, store, false).await?).await
        }
    }
}

/// What is there before the metadata is.
struct Host {
    cores: Vec<usize>,
    kind: Kind,
    listeners: Vec<Bound>,
    registry: Arc<Registry>,
    health: Arc<Health>,
    page: Arc<Page>,
    page_server: Option<PageServer>,
    began: std::time::Instant,
}

/// Serves what was prepared until a signal or a failure. Returns the exit code.
async fn serve_from<S: Store + Send + 'static>(
    host: Host,
    mut prepared: Prepared<S>,
) -> Result<u8, StartError> {
    let Host { cores, kind, listeners, registry, health, page, page_server, began } = host;
    let config = Arc::clone(&prepared.config);
    // The store may hold other numbers of threads than the file.
    let placement = place(config.num_network_threads, config.num_io_threads, &cores);

    health.starting("threads and partitions are being set up");
    let image = first_image(&config, &prepared.store, &listeners).shared();
    let (control, requests) = control_thread::channel();
    let (leave, leaving) = tokio::sync::mpsc::channel(1);
    let (propose, proposals) = tokio::sync::mpsc::unbounded_channel();
    let background_slot: Arc<Mutex<Option<Background>>> = Arc::new(Mutex::new(None));
    let threads = start_reactors(
        &config,
        kind,
        &placement,
        &listeners,
        &prepared.directories,
        &prepared.log_directories,
        &registry,
        &image,
        &control,
        &background_slot,
        prepared.store.state().broker_id(),
        &propose,
    )?;
    let io_reactors: Vec<(ReactorId, DirectiveSender)> = placement
        .reactors
        .iter()
        .zip(&threads.senders)
        .filter(|(reactor, _)| reactor.io)
        .map(|(reactor, sender)| (reactor.id, Arc::clone(sender)))
        .collect();
    let opened = std::mem::take(&mut prepared.opened);
    let doomed = std::mem::take(&mut prepared.doomed);
    let thread_error = |error| StartError::Runtime(format!("a thread cannot be started: {error}"));
    let cleaned =
        prepared.log_directories.iter().map(|directory| directory.cleaner_offsets.clone()).collect();
    let cleaner_points = CleanerPoints::new(prepared.directories.clone(), cleaned);
    let (background, homes) = Background::start(
        Arc::clone(&config),
        prepared.directories.clone(),
        io_reactors.clone(),
        opened,
        doomed,
        Arc::clone(&cleaner_points),
        random_numbers()?,
    )
    .map_err(thread_error)?;
    let cleaner = Cleaner::start(&config, io_reactors, prepared.directories.clone(), cleaner_points)
        .map_err(thread_error)?;
    *background_slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(background.clone());

    let cluster_id = Arc::clone(prepared.store.state().cluster_id());
    let broker_id = prepared.store.state().broker_id();
    publish_topics(prepared.store.state(), &config, &background, homes, &image).await?;
    prepared.store.enlist().await.map_err(startup::store_error)?;
    let parts = control_thread::Parts {
        store: prepared.store,
        image: Arc::clone(&image),
        config: Arc::clone(&config),
        replicas: Box::new(background.clone()),
        random: random_numbers()?,
        requests,
        proposals,
        leaving,
    };
    let (control_thread, caught_up) = control_thread::spawn(parts)
        .map_err(|error| StartError::Runtime(format!("the control thread cannot be started: {error}")))?;
    drop(control);
    caught_up.await.map_err(|_| StartError::Runtime("the control thread has ended".to_owned()))?;
    page.broker.store(Some(Arc::new(metrics_page::Broker {
        image: Arc::clone(&image),
        directories: prepared.directories.clone(),
    })));
    let partitions = image.load().partition_count();
    for listener in &listeners {
        tracing::info!(
            listener = %listener.name,
            address = %listener.address,
            broker = broker_id.0,
            cluster = %cluster_id,
            partitions,
            durability = config.durability().as_str(),
            ms = began.elapsed().as_millis() as u64,
            "ready"
        );
    }
    // The line that scripts wait for; the log above may be turned down.
    println!(
        "ringdaw broker {} is ready on {} ({partitions} partitions, {} ms)",
        broker_id.0,
        listeners.iter().map(|l| format!("{}://{}", l.name, l.address)).collect::<Vec<_>>().join(","),
        began.elapsed().as_millis()
    );
    for sender in &threads.senders {
        direct_to(sender, Directive::Accept);
    }
    health.ready();

    let failed = Arc::clone(&threads.failed);
    let code = tokio::select! {
        signal = stop_signal() => {
            tracing::info!(signal, "stopping");
            0
        }
        () = failure(&failed, &prepared.directories) => 1,
    };
    health.stopping();
    if code == 0 && config.zookeeper.is_some() {
        hand_over(&leave, &config).await;
    }
    // Blocking is fine here: nothing else is left to run on this thread.
    if let Some(cleaner) = cleaner {
        cleaner.stop();
    }
    let clean = stop(&threads, &placement, &background, &prepared.directories, &prepared.log_directories);
    // Only now that every log is closed do the others hear that this broker is gone. A thread that panicked has said so.
    let _ = control_thread.join();
    drop(page_server);
    Ok(if code == 0 && !clean { 1 } else { code })
}

/// Others are to lead what this broker leads, before it closes its sockets. A second signal ends the wait.
async fn hand_over(leave: &tokio::sync::mpsc::Sender<tokio::sync::oneshot::Sender<()>>, config: &Config) {
    let (done, handed_over) = tokio::sync::oneshot::channel();
    if leave.send(done).await.is_err() {
        return; // the control thread has ended
    }
    let tries = u64::from(config.controlled_shutdown_max_retries.max(1));
    let most = tries * (config.controlled_shutdown_retry_backoff_ms + config.controller_socket_timeout_ms);
    tokio::select! {
        _ = handed_over => {}
        () = tokio::time::sleep(Duration::from_millis(most)) => {
            tracing::warn!("leadership is not handed over in time; the broker stops all the same");
        }
        signal = stop_signal() => tracing::warn!(signal, "told again to stop: leadership is not handed over"),
    }
}

/// Binds `metrics.listener` and serves the page there.
fn serve_page(at: &(String, u16), page: &Arc<Page>) -> Result<PageServer, StartError> {
    let (host, port) = (if at.0.is_empty() { "0.0.0.0" } else { &at.0 }, at.1);
    let refuse =
        |error| StartError::Runtime(format!("cannot listen on metrics.listener ({host}:{port}): {error}"));
    let listener = std::net::TcpListener::bind((host, port)).map_err(refuse)?;
    let server = metrics_page::serve(listener, Arc::clone(page)).map_err(refuse)?;
    tracing::info!(address = %server.address, "metrics page: /metrics, /livez, /readyz");
    Ok(server)
}

/// Puts every stored topic into the image. Partitions without a replica, left by a stop in the middle of their creation or by
/// a removed directory, are made.
async fn publish_topics(
    state: &State,
    config: &Arc<Config>,
    background: &Background,
    mut homes: Homes,
    image: &SharedImage,
) -> Result<(), StartError> {
    let configs = TopicConfigs::new(Arc::clone(config));
    let mut missing = Vec::new();
    for topic in state.topics() {
        let topic_config = configs.of(topic);
        missing.extend(
            publish::replicas(state, topic, &topic_config, 0..topic.partition_count())
                .filter(|replica| !homes.contains_key(&(Arc::clone(&replica.topic), replica.partition))),
        );
    }
    if !missing.is_empty() {
        tracing::info!(replicas = missing.len(), "replicas without a directory are made");
        let made = background.create(missing.clone()).await;
        let made = made.map_err(|_| StartError::Runtime("the file thread has ended".to_owned()))?;
        for (replica, result) in missing.into_iter().zip(made) {
            match result {
                Ok(home) => {
                    homes.insert((replica.topic, replica.partition), home);
                }
                Err(error) => {
                    tracing::error!(topic = %replica.topic, partition = replica.partition, "a replica could not be made: {error}");
                }
            }
        }
    }
    let topics = state.topics().map(|topic| {
        let found = (0..topic.partition_count())
            .map(|partition| homes.get(&(Arc::clone(&topic.name), partition)).copied());
        Difference::Put(Arc::new(publish::topic(state, topic, &configs.of(topic), found)))
    });
    let next = image.load().with(topics);
    image.store(Arc::new(next));
    Ok(())
}

/// The engine of every reactor, after a look at what this machine allows; one line says which and why.
fn engine_kind(config: &Config, placement: &Placement) -> Result<Kind, StartError> {
    let wanted = match config.reactor_engine {
        ReactorEngine::Auto => None,
        ReactorEngine::IoUring => Some(Kind::IoUring),
        ReactorEngine::Epoll => Some(Kind::Epoll),
    };
    let choice = choice::choose(wanted, placement.reactors.len()).map_err(|error| {
        StartError::Machine(format!(
            "reactor.engine = io_uring: {error}; or set reactor.engine to epoll or auto, which serve without it"
        ))
    })?;
    tracing::info!(
        engine = choice.kind.word(),
        "the threads stand on {}: {}",
        choice.kind.word(),
        choice.why
    );
    Ok(choice.kind)
}

/// The cores to use: those named by `reactor.cores`, else all this process may run on.
fn cores(config: &Config) -> Result<Vec<usize>, StartError> {
    let usable = pin::usable_cores();
    if config.reactor_cores.is_empty() {
        return Ok(usable);
    }
    match config.reactor_cores.iter().find(|core| !usable.contains(core)) {
        Some(core) => Err(StartError::Settings(format!(
            "reactor.cores names core {core}; this process may use {}",
            usable.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        ))),
        None => Ok(config.reactor_cores.clone()),
    }
}

fn bind(config: &Config) -> Result<Vec<Bound>, StartError> {
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let host = if listener.host.is_empty() { "0.0.0.0" } else { &listener.host };
        let refuse = |error: std::io::Error| {
            StartError::Runtime(format!("cannot listen on {listener} ({host}:{}): {error}", listener.port))
        };
        let address = (host, listener.port)
            .to_socket_addrs()
            .map_err(refuse)?
            .next()
            .ok_or_else(|| refuse(ErrorKind::AddrNotAvailable.into()))?;
        let open = || {
            Socket::listen(
                address,
                i32::try_from(config.socket_listen_backlog_size).unwrap_or(i32::MAX).max(128),
                config.socket_send_buffer_bytes.map(|bytes| bytes as usize),
                config.socket_receive_buffer_bytes.map(|bytes| bytes as usize),
                false,
            )
        };
        let socket = once_free(listener, open).map_err(refuse)?;
        let address = socket.local().map_err(refuse)?;
        bound.push(Bound { socket, name: Arc::from(listener.name.as_str()), address });
    }
    Ok(bound)
}

/// How long a port may stay taken by a broker that has ended: the kernel takes its ring apart after the process is gone,
/// and an accept that waits in the ring holds the socket until then, some tens of milliseconds.
const PORT_PATIENCE: Duration = Duration::from_secs(3);

/// From outside, nothing tells a port whose owner was killed a moment ago from one whose owner runs: both are waited for,
/// and the second is refused after that time.
fn once_free(
    listener: &config::Listener,
    open: impl Fn() -> std::io::Result<Socket>,
) -> std::io::Result<Socket> {
    let begun = Instant::now();
    let mut said = false;
    loop {
        match open() {
            Err(error) if error.kind() == ErrorKind::AddrInUse && begun.elapsed() < PORT_PATIENCE => {
                if !said {
                    tracing::info!(%listener, seconds = PORT_PATIENCE.as_secs(), "taken: waiting in case its owner has just ended");
                    said = true;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome,
        }
    }
}

/// Where clients shall reach this broker, by listener.
fn endpoints(config: &Config, listeners: &[Bound]) -> Vec<Endpoint> {
    let endpoint = |advertised: &config::Listener| {
        let bound = listeners.iter().find(|bound| *bound.name == *advertised.name);
        let port = match (advertised.port, bound) {
            (0, Some(bound)) => bound.address.port(),
            (port, _) => port,
        };
        let host = if advertised.host.is_empty() { host_name() } else { advertised.host.clone() };
        Endpoint { listener: Arc::from(advertised.name.as_str()), host: Arc::from(host), port }
    };
    config.advertised_listeners.iter().map(endpoint).collect()
}

/// The image before any topic: this broker and its endpoints.
fn first_image<S: Store>(config: &Config, store: &S, listeners: &[Bound]) -> Image {
    let state = store.state();
    let id: BrokerId = state.broker_id();
    let broker = BrokerFacts {
        id,
        rack: config.broker_rack.as_deref().map(Arc::from),
        endpoints: endpoints(config, listeners),
    };
    Image::new(Cluster {
        id: Arc::clone(state.cluster_id()),
        this_broker: id,
        controller: (!S::SHARED).then_some(id),
        brokers: Arc::from(vec![broker]),
    })
    .with_limits(publish::limits(state, config, None).map(Arc::new))
}

/// What clients are told when no host is set: the machine's name if it resolves, else the loopback address.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if !name.is_empty() && (name, 0).to_socket_addrs().is_ok_and(|mut found| found.next().is_some()) {
        name.to_owned()
    } else {
        "127.0.0.1".to_owned()
    }
}

/// The running reactors.
struct Threads {
    senders: Vec<DirectiveSender>,
    handles: Mutex<Vec<std::thread::JoinHandle<()>>>,
    /// A reactor has lost its engine.
    failed: Arc<AtomicBool>,
}

/// What a reactor thread is given once all of them have their engines.
struct Wiring {
    peers: Vec<Peer>,
    directives: Receiver<Directive>,
    sleeper: Arc<Sleeper>,
}

#[expect(clippy::too_many_arguments, reason = "one caller, and each is a different thing")]
fn start_reactors(
    config: &Arc<Config>,
    kind: Kind,
    placement: &Placement,
    listeners: &[Bound],
    directories: &[Arc<DirectoryState>],
    log_directories: &[LogDirectory],
    registry: &Arc<Registry>,
    image: &SharedImage,
    control: &ControlHandle,
    background: &Arc<Mutex<Option<Background>>>,
    broker: BrokerId,
    proposals: &UnboundedSender<Vec<InSyncProposal>>,
) -> Result<Threads, StartError> {
    let failed = Arc::new(AtomicBool::new(false));
    let takers: Vec<ReactorId> =
        placement.reactors.iter().filter(|reactor| reactor.network).map(|reactor| reactor.id).collect();
    let answer_senders: Arc<Mutex<Vec<DirectiveSender>>> = Arc::new(Mutex::new(Vec::new()));
    // The budgets are the broker's: each IO loop and directory gets its share.
    let shares = (placement.io_loops * directories.len()).max(1) as u64;
    let window = WindowLimits::new(
        config.log_window_dirty_bytes.unwrap_or(LOG_WINDOW_DIRTY_BYTES) / shares,
        config.log_window_resident_bytes.unwrap_or(LOG_WINDOW_RESIDENT_BYTES) / shares,
    );
    let (wakers, inbox) = mpsc::channel::<(usize, Result<Waker, std::io::Error>)>();
    let mut wirings = Vec::new();
    let mut handles = Vec::new();
    for (index, reactor) in placement.reactors.iter().enumerate() {
        let (wire, wired) = mpsc::channel::<Wiring>();
        wirings.push(wire);
        let reactor = *reactor;
        let config = Arc::clone(config);
        let registry = Arc::clone(registry);
        let image = Arc::clone(image);
        let control = control.clone();
        let background = Arc::clone(background);
        let answer_senders = Arc::clone(&answer_senders);
        let takers = takers.clone();
        let directories = directories.to_vec();
        let locks: Vec<File> = log_directories.iter().map(|directory| directory.lock().clone()).collect();
        let wakers = wakers.clone();
        let failed = Arc::clone(&failed);
        let proposals = proposals.clone();
        let listeners: Vec<(Option<Socket>, Arc<str>)> = listeners
            .iter()
            .map(|bound| {
                let accepts = takers.first() == Some(&reactor.id);
                (accepts.then(|| bound.socket.clone()), Arc::clone(&bound.name))
            })
            .collect();
        let name = format!("reactor-{index}");
        let body = move || {
            if !pin::pin_to(reactor.core) {
                tracing::warn!(core = reactor.core, "a thread could not be pinned to its core");
            }
            pin::take_short_slices();
            // H21: the engine is made on the thread that uses it.
            let engine = kind.engine(RingOptions::default()).and_then(|mut engine| {
                // H07: the locks live as long as anything this engine has submitted.
                locks.iter().try_for_each(|lock| engine.hold(lock))?;
                Ok(engine)
            });
            let engine = match engine {
                Ok(engine) => engine,
                Err(error) => {
                    let _ = wakers.send((index, Err(error)));
                    return;
                }
            };
            let _ = wakers.send((index, Ok(engine.waker())));
            drop(wakers);
            let Ok(Wiring { peers, directives, sleeper }) = wired.recv() else { return };
            let metrics: Arc<CachePadded<ThreadMetrics>> = registry.thread(&format!("reactor-{index}"));
            let network = reactor.network.then(|| {
                let slots = config.max_incremental_fetch_session_cache_slots as usize / takers.len().max(1);
                NetworkLoop::new(
                    reactor.id,
                    Arc::clone(&config),
                    image,
                    control,
                    reply_maker(answer_senders),
                    Arc::clone(&metrics),
                    listeners,
                    takers,
                    slots,
                )
            });
            let io = reactor.io.then(|| {
                let notes = Box::new(move |notes| {
                    if let Some(background) = &*background.lock().unwrap_or_else(PoisonError::into_inner) {
                        background.note(notes);
                    }
                });
                let surroundings = Surroundings {
                    reactor: reactor.id,
                    broker,
                    directories,
                    limits: window,
                    notes,
                    // Nobody takes them when the control thread has ended, and the broker with it.
                    propose: Box::new(move |proposed| {
                        let _ = proposals.send(proposed);
                    }),
                };
                let name = format!("reactor-{index}");
                IoLoop::new(&config, registry, name, Arc::clone(&metrics), surroundings, engine.now())
            });
            let spin_us = u64::from(config.reactor_spin_us);
            let id = reactor.id;
            let parts = Parts { id, engine, network, io, peers, directives, sleeper, metrics, spin_us };
            if let Err(error) = Reactor::new(parts).run() {
                tracing::error!("a reactor has lost its engine: {error}");
                failed.store(true, Ordering::Release);
            }
        };
        let handle = std::thread::Builder::new()
            .name(name)
            .spawn(body)
            .map_err(|error| StartError::Machine(format!("a thread cannot be started: {error}")))?;
        handles.push(handle);
    }
    drop(wakers);
    let mut sleepers: Vec<Option<Arc<Sleeper>>> = placement.reactors.iter().map(|_| None).collect();
    for _ in 0..placement.reactors.len() {
        match inbox.recv() {
            Ok((index, Ok(waker))) => sleepers[index] = Some(Sleeper::new(waker)),
            Ok((_, Err(error))) => return Err(StartError::Machine(kind.explain(&error))),
            Err(_) => return Err(StartError::Machine("a reactor did not start".to_owned())),
        }
    }
    let sleepers: Vec<Arc<Sleeper>> = sleepers.into_iter().flatten().collect();
    let mut peers: Vec<Vec<Peer>> = placement.reactors.iter().map(|_| Vec::new()).collect();
    for a in 0..sleepers.len() {
        for b in a + 1..sleepers.len() {
            let (to_b, from_a) = mailbox::<Message>(MAILBOX_MESSAGES, Arc::clone(&sleepers[b]));
            let (to_a, from_b) = mailbox::<Message>(MAILBOX_MESSAGES, Arc::clone(&sleepers[a]));
            peers[a].push(Peer { id: placement.reactors[b].id, to: to_b, from: from_b });
            peers[b].push(Peer { id: placement.reactors[a].id, to: to_a, from: from_a });
        }
    }
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    for sleeper in &sleepers {
        let (sender, receiver): (Sender<Directive>, Receiver<Directive>) =
            mailbox(MAILBOX_MESSAGES, Arc::clone(sleeper));
        senders.push(Arc::new(Mutex::new(sender)));
        receivers.push(receiver);
    }
    answer_senders.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&senders);
    for (((wire, peers), directives), sleeper) in wirings.into_iter().zip(peers).zip(receivers).zip(sleepers)
    {
        // A thread that is gone has said why.
        let _ = wire.send(Wiring { peers, directives, sleeper });
    }
    Ok(Threads { senders, handles: Mutex::new(handles), failed })
}

/// An answer of the control thread, on its way to the connection that asked.
struct Answer {
    senders: Arc<Mutex<Vec<DirectiveSender>>>,
    reply_to: ReplyTo,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl Reply for Answer {
    fn send(self: Box<Self>, body: Vec<u8>) {
        let frame = whole_frame(self.key, self.version, self.correlation_id, &body);
        let senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = senders.get(usize::from(self.reply_to.reactor.0)) {
            direct_to(sender, Directive::Answer { reply_to: self.reply_to, frame });
        }
    }
}

fn reply_maker(senders: Arc<Mutex<Vec<DirectiveSender>>>) -> crate::network_thread::ReplyMaker {
    Box::new(move |reply_to, key, version, correlation_id| {
        Box::new(Answer { senders: Arc::clone(&senders), reply_to, key, version, correlation_id })
    })
}

/// Completes with SIGTERM or SIGINT.
async fn stop_signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// Completes when a reactor has ended or no log directory is left.
async fn failure(reactor: &AtomicBool, directories: &[Arc<DirectoryState>]) {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if reactor.load(Ordering::Acquire) {
            return;
        }
        if directories.iter().all(|directory| directory.has_failed()) {
            tracing::error!("every log directory has failed: the broker stops");
            return;
        }
    }
}

/// Answers what is in work, closes the logs, flushes once for each directory, writes the checkpoints and the marks of a clean
/// stop. True when everything closed without error.
fn stop(
    threads: &Threads,
    placement: &Placement,
    background: &Background,
    directories: &[Arc<DirectoryState>],
    log_directories: &[LogDirectory],
) -> bool {
    let (drained, wait) = mpsc::channel();
    for sender in &threads.senders {
        let drained = drained.clone();
        direct_to(
            sender,
            Directive::Drain(Box::new(move || {
                let _ = drained.send(());
            })),
        );
    }
    let until = std::time::Instant::now() + DRAIN_MAX;
    for _ in &threads.senders {
        if wait.recv_timeout(until.saturating_duration_since(std::time::Instant::now())).is_err() {
            break;
        }
    }
    let (closed, results) = mpsc::channel();
    let mut expected = 0;
    for (sender, _) in threads.senders.iter().zip(&placement.reactors).filter(|(_, reactor)| reactor.io) {
        expected += 1;
        let closed = closed.clone();
        let done = Box::new(move |logs| {
            let _ = closed.send(logs);
        });
        direct_to(sender, Directive::Order(Order::Stop { done }));
    }
    let mut logs = Vec::new();
    for _ in 0..expected {
        match results.recv_timeout(Duration::from_secs(60)) {
            Ok(closed) => logs.extend(closed),
            Err(_) => break,
        }
    }
    for sender in &threads.senders {
        direct_to(sender, Directive::Quit);
    }
    for handle in threads.handles.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // A thread that panicked has said so.
        let _ = handle.join();
    }
    // The checkpoint files are this function's from here on.
    background.finish();
    let mut all_clean = true;
    for (number, (state, directory)) in directories.iter().zip(log_directories).enumerate() {
        let here: Vec<&Closed> = logs.iter().filter(|log| usize::from(log.directory) == number).collect();
        if state.has_failed() || here.iter().any(|log| !log.clean) {
            tracing::warn!(directory = %directory.path().display(), "not closed cleanly: the next start checks its logs");
            all_clean = false;
            continue;
        }
        let line = |value: fn(&Closed) -> i64| -> Vec<(&str, i32, i64)> {
            here.iter().map(|log| (&*log.topic, log.partition, value(log))).collect()
        };
        let starts: Vec<(&str, i32, i64)> =
            here.iter().filter_map(|log| Some((&*log.topic, log.partition, log.log_start?))).collect();
        let stopped = directory.stop_clean(
            &OsDisk,
            line(|log| log.recovery_point).into_iter(),
            line(|log| log.high_watermark).into_iter(),
            starts.into_iter(),
        );
        if let Err(error) = stopped {
            tracing::error!("the clean stop could not be marked: {error}");
            all_clean = false;
        }
    }
    tracing::info!(clean = all_clean, "stopped");
    all_clean
}
