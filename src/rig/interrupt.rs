//! Ctrl-C: the run stops at the next second, keeps what it has, and leaves no child behind.
//!
//! In: SIGINT or SIGTERM. Out: a flag that loops look at. A second signal ends the process at once; the kernel then
//! kills the children (`reactor::process::isolate`).

use std::sync::atomic::{AtomicU32, Ordering};

static SIGNALS: AtomicU32 = AtomicU32::new(0);

/// Starts listening. Without it the signals end the process as they always do.
pub fn listen() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if SIGNALS.fetch_add(1, Ordering::Relaxed) > 0 {
                    std::process::exit(130);
                }
            }
        });
    })?;
    Ok(())
}

/// True once a signal has come.
pub fn requested() -> bool {
    SIGNALS.load(Ordering::Relaxed) > 0
}
