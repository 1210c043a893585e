//! Streams of events, as server-sent events.

use crate::convert;
use crate::failure::Failure;
use crate::limits::EVENTS_KEEPALIVE_MS;
use api::{DomainNews, Event};
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{self, KeepAlive, Sse};
use engine::jobs::{JobId, JobNews, JobState, JobView};
use engine::machine::LifecycleEvent;
use engine::{DomainEvent, Engine, EventStream, Happening};
use futures_util::stream::{self, Stream};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(all))
}

/// Everything that happens from now on: jobs and machines. A reader that is
/// too slow is let go of.
#[utoipa::path(get, path = "/events",
    responses((status = 200, content_type = "text/event-stream", body = Event)))]
async fn all(State(engine): State<Engine>) -> impl IntoResponse {
    stream(Followed::all(&engine))
}

/// What a client follows.
pub(super) struct Followed {
    jobs: JobNews,
    domains: Option<EventStream>,
    /// One job only: how it is now, told first.
    first: Option<Arc<JobView>>,
    only: Option<JobId>,
    over: bool,
}

impl Followed {
    fn all(engine: &Engine) -> Followed {
        Followed {
            jobs: engine.job_news(),
            domains: Some(engine.events()),
            first: None,
            only: None,
            over: false,
        }
    }

    /// One job, until it is over.
    pub(super) fn job(engine: &Engine, id: JobId) -> Result<Followed, Failure> {
        // Subscribed first: what happens between is told twice rather than not at all.
        let jobs = engine.job_news();
        Ok(Followed {
            first: Some(engine.job(id)?),
            jobs,
            domains: None,
            only: Some(id),
            over: false,
        })
    }

    async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        loop {
            if let Some(view) = self.first.take() {
                return Some(self.job_event(&view));
            }
            tokio::select! {
                view = self.jobs.next() => {
                    let view = view?;
                    if self.only.is_none_or(|id| id == view.id) {
                        return Some(self.job_event(&view));
                    }
                }
                event = of(&mut self.domains) => {
                    if let Some(news) = domain_news(&*event?) {
                        return Some(Event::Domain(news));
                    }
                }
            }
        }
    }

    fn job_event(&mut self, view: &JobView) -> Event {
        self.over = self.only.is_some() && view.state != JobState::Running;
        Event::Job(convert::job(view))
    }
}

/// The next event of a machine; never one where they are not followed.
async fn of(domains: &mut Option<EventStream>) -> Option<Arc<DomainEvent>> {
    match domains {
        Some(domains) => domains.next().await.ok(),
        None => std::future::pending().await,
    }
}

/// The events as an answer.
pub(super) fn stream(
    followed: Followed,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let events = stream::unfold(followed, |mut followed| async move {
        let event = followed.next().await?;
        let told = sse::Event::default().json_data(&event).unwrap_or_default();
        Some((Ok(told), followed))
    });
    let alive = KeepAlive::new().interval(Duration::from_millis(EVENTS_KEEPALIVE_MS));
    Sse::new(events).keep_alive(alive)
}

fn domain_news(event: &DomainEvent) -> Option<DomainNews> {
    let what = match &event.what {
        Happening::Lifecycle(event) => lifecycle(*event),
        Happening::Reboot => "rebooted",
        Happening::IoError { .. } => "io-error",
        Happening::Watchdog { .. } => "watchdog",
        Happening::DeviceAdded { .. } => "device-added",
        Happening::DeviceRemoved { .. } => "device-removed",
        _ => return None,
    };
    Some(DomainNews {
        name: event.domain.name.to_string(),
        uuid: event.domain.uuid.to_string(),
        event: what.to_owned(),
    })
}

fn lifecycle(event: LifecycleEvent) -> &'static str {
    match event {
        LifecycleEvent::Defined(_) => "defined",
        LifecycleEvent::Undefined(_) => "undefined",
        LifecycleEvent::Started(_) => "started",
        LifecycleEvent::Suspended(_) => "suspended",
        LifecycleEvent::Resumed(_) => "resumed",
        LifecycleEvent::Stopped(_) => "stopped",
        LifecycleEvent::Shutdown(_) => "shutdown",
        LifecycleEvent::PmSuspendedMemory => "sleeping",
        LifecycleEvent::PmSuspendedDisk => "hibernated",
        LifecycleEvent::Panicked => "panicked",
    }
}
