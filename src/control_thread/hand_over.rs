//! Before this broker stops, others lead in its place: the controlled shutdown, from the side of the one who goes (contract 5.5).
//!
//! In: the wish to stop. Out: word that the sockets may close, once the controller has moved what it can, or the tries are used up.
//! Meanwhile the broker serves and obeys, because it is the controller who takes its partitions from it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::config::inter_broker;
use crate::control_thread::control::Control;
use crate::control_thread::peers::Line;
use crate::metadata::Store;
use crate::wire::message::Message;
use crate::wire::message::controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse};
use crate::wire::primitive::Reader;
use crate::wire::version::ApiKey;

/// How long a controller that stops waits for the others to hear its last decisions; the next one tells them again.
const HEARD_MAX: Duration = Duration::from_secs(2);
const HEARD_CHECK: Duration = Duration::from_millis(10);
/// While ZooKeeper does not answer there is nobody to hand over to.
const ZOOKEEPER_MAX: Duration = Duration::from_secs(1);

/// What a try came to: the partitions with other replicas that only this broker can lead, or why there is no answer.
pub(super) type Tried = Result<usize, String>;

#[derive(Debug)]
pub(super) struct HandingOver {
    done: oneshot::Sender<()>,
    tries_left: u32,
    /// Of the next try; `None` while one is under way, or none is needed any more.
    next: Option<Instant>,
    /// All is handed over: only the others have to hear of it, until then at the latest.
    heard_by: Option<Instant>,
}

impl<S: Store> Control<S> {
    /// This broker is to stop; `done` hears when it may.
    pub(super) async fn begin_hand_over(&mut self, done: oneshot::Sender<()>) {
        let is_reachable = match self.store.cluster() {
            Some(cluster) => cluster.client().connected(ZOOKEEPER_MAX).await.is_ok(),
            None => false,
        };
        if !is_reachable || !self.config.controlled_shutdown_enable {
            let _ = done.send(()); // nobody waits: the broker stops anyway
            return;
        }
        let tries_left = self.config.controlled_shutdown_max_retries.max(1);
        self.handing_over =
            Some(HandingOver { done, tries_left, next: Some(Instant::now()), heard_by: None });
    }

    pub(super) fn next_hand_over(&self) -> Option<Instant> {
        let handing_over = self.handing_over.as_ref()?;
        handing_over.heard_by.map(|_| Instant::now() + HEARD_CHECK).or(handing_over.next)
    }

    /// The next try, or a look whether the others have heard.
    pub(super) async fn hand_over(&mut self) {
        let heard = self.is_heard();
        let Some(handing_over) = &mut self.handing_over else { return };
        if let Some(until) = handing_over.heard_by {
            if heard || Instant::now() >= until {
                self.end_hand_over();
            }
            return;
        }
        handing_over.next = None;
        if self.governs() {
            let tried = self.hand_over_as_controller().await.ok_or_else(|| "no controller".to_owned());
            return self.on_hand_over(tried);
        }
        let request = ControlledShutdownRequest {
            broker_id: self.store.state().broker_id().0,
            broker_epoch: self.broker_epoch(),
        };
        let controller = self.image.load().cluster().controller;
        let address = controller.and_then(|id| self.address_of(id));
        let version = inter_broker::controlled_shutdown(self.config.inter_broker_protocol_version);
        let patience = Duration::from_millis(self.config.controller_socket_timeout_ms.max(1));
        let tried = self.tried.clone();
        tokio::spawn(async move {
            let outcome = match address {
                Some(address) => {
                    let line = Line::new(address, request.broker_id.to_string(), patience);
                    ask(line, version, &request).await
                }
                None => Err("there is no controller now".to_owned()),
            };
            let _ = tried.send(outcome);
        });
    }

    pub(super) fn on_hand_over(&mut self, tried: Tried) {
        let backoff = Duration::from_millis(self.config.controlled_shutdown_retry_backoff_ms);
        let Some(handing_over) = &mut self.handing_over else { return };
        if let Ok(0) = tried {
            tracing::info!("others lead what this broker led");
            handing_over.heard_by = Some(Instant::now() + HEARD_MAX);
            return;
        }
        handing_over.tries_left -= 1;
        let tries_left = handing_over.tries_left;
        match &tried {
            Ok(left) => tracing::warn!(left, tries_left, "some partitions can be led by nobody else"),
            Err(why) => tracing::warn!(why, tries_left, "leadership cannot be handed over"),
        }
        if tries_left == 0 {
            return self.end_hand_over();
        }
        handing_over.next = Some(Instant::now() + backoff);
    }

    fn end_hand_over(&mut self) {
        if let Some(HandingOver { done, .. }) = self.handing_over.take() {
            let _ = done.send(()); // nobody waits: the broker stops anyway
        }
    }
}

async fn ask(mut line: Line, version: i16, request: &ControlledShutdownRequest) -> Tried {
    let mut body = Vec::new();
    request.encode(&mut body, version);
    let answer =
        line.call(ApiKey::ControlledShutdown, version, &body).await.map_err(|error| error.to_string())?;
    let response = ControlledShutdownResponse::decode(&mut Reader::response(&answer), version)
        .map_err(|error| error.to_string())?;
    match response.error_code {
        0 => Ok(response.remaining_partitions.len()),
        code => Err(format!("the controller answers error {code}")),
    }
}

/// Where tries report.
pub(super) type TriedSender = mpsc::UnboundedSender<Tried>;
