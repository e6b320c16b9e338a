//! The routes.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use tagma_crypto::{Digest, PublicKey};
use tagma_evidence::EvidenceFile;
use tagma_pbft::Standing;
use tagma_pbft::evidence::Evidence;
use tokio::sync::Semaphore;

use super::views::{Account, Block, EvidenceList, Problem, Status};
use crate::driver::Shared;
use crate::metrics::Metrics;

#[derive(Clone)]
struct App {
    shared: Arc<Shared>,
    metrics: Metrics,
    /// Bounds the reads of the store that run at once.
    reads: Arc<Semaphore>,
}

pub(super) fn router(shared: Arc<Shared>, metrics: Metrics, max_reads: usize) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_text))
        .route("/v1/status", get(status))
        .route("/v1/blocks/{height}", get(block))
        .route("/v1/accounts/{key}", get(account))
        .route("/v1/evidence", get(evidence_list))
        .route("/v1/evidence/{id}", get(evidence_file))
        .with_state(App {
            shared,
            metrics,
            reads: Arc::new(Semaphore::new(max_reads)),
        })
}

async fn live() -> &'static str {
    "ok\n"
}

#[derive(Deserialize)]
struct ReadyQuery {
    verbose: Option<String>,
}

/// Ready means: this replica votes, and a quorum is connected with it.
async fn ready(State(app): State<App>, Query(query): Query<ReadyQuery>) -> Response {
    let published = app.shared.published();
    let connected = app.shared.connected().into_iter().filter(|up| *up).count() as u64;
    let replicas = app.shared.genesis().replica_count();
    let quorum = replicas.saturating_sub(1) / 3 * 2 + 1;
    let checks = [
        (
            "standing",
            published.standing == Standing::Voting,
            published.standing_text(),
        ),
        (
            "connected",
            connected >= quorum,
            format!("{connected} of {replicas}, quorum {quorum}"),
        ),
        (
            "view",
            published.view == published.target,
            format!("in view {}, wants {}", published.view, published.target),
        ),
    ];
    let good = checks.iter().all(|(_, good, _)| *good);
    let code = if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut text = String::new();
    if query.verbose.is_some() {
        for (name, good, detail) in checks {
            let mark = if good { "+" } else { "-" };
            text.push_str(&format!("[{mark}] {name}: {detail}\n"));
        }
    }
    text.push_str(if good { "ready\n" } else { "not ready\n" });
    (code, text).into_response()
}

async fn metrics_text(State(app): State<App>) -> Response {
    match app.shared.ledger().store().memory() {
        Ok(memory) => app.metrics.storage_memory(memory),
        // What it last told stands; a database that fails is noticed by who writes to it.
        Err(error) => tracing::debug!(%error, "the database does not tell its memory"),
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.encode()).into_response()
}

async fn status(State(app): State<App>) -> Json<Status> {
    Json(Status::from(app.shared.status()))
}

async fn block(State(app): State<App>, Path(height): Path<String>) -> Response {
    let Ok(height) = height.parse::<u64>() else {
        return problem(StatusCode::BAD_REQUEST, "a height is a number");
    };
    let Ok(_read) = app.reads.acquire().await else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "stopping");
    };
    let shared = Arc::clone(&app.shared);
    match tokio::task::spawn_blocking(move || shared.block(height)).await {
        Ok(Ok(Some(block))) => Json(Block::from(block)).into_response(),
        Ok(Ok(None)) => problem(StatusCode::NOT_FOUND, format!("there is no block {height} here")),
        Ok(Err(error)) => problem(StatusCode::INTERNAL_SERVER_ERROR, error),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

async fn account(State(app): State<App>, Path(key): Path<String>) -> Response {
    let key: PublicKey = match key.parse() {
        Ok(key) => key,
        Err(error) => return problem(StatusCode::BAD_REQUEST, error),
    };
    match app.shared.account(&key) {
        (height, Some(report)) => Json(Account::new(&key, height, report)).into_response(),
        (height, None) => problem(
            StatusCode::NOT_FOUND,
            format!("there is no such account at height {height}"),
        ),
    }
}

async fn evidence_list(State(app): State<App>) -> Response {
    match stored_evidence(&app).await {
        Ok(evidence) => {
            let shared = &app.shared;
            Json(EvidenceList::new(shared.me(), shared.judge(), &evidence)).into_response()
        }
        Err(response) => response,
    }
}

async fn evidence_file(State(app): State<App>, Path(id): Path<String>) -> Response {
    let id: Digest = match id.parse() {
        Ok(id) => id,
        Err(error) => return problem(StatusCode::BAD_REQUEST, error),
    };
    match stored_evidence(&app).await {
        Ok(evidence) => match evidence.iter().find(|evidence| evidence.id() == id) {
            Some(evidence) => {
                let file = EvidenceFile::new(app.shared.judge(), evidence);
                ([(header::CONTENT_TYPE, "application/json")], file.text).into_response()
            }
            None => problem(StatusCode::NOT_FOUND, "there is no such evidence here"),
        },
        Err(response) => response,
    }
}

async fn stored_evidence(app: &App) -> Result<Vec<Evidence>, Response> {
    let Ok(_read) = app.reads.acquire().await else {
        return Err(problem(StatusCode::SERVICE_UNAVAILABLE, "stopping"));
    };
    let shared = Arc::clone(&app.shared);
    let failed = |error: String| problem(StatusCode::INTERNAL_SERVER_ERROR, error);
    match tokio::task::spawn_blocking(move || shared.evidence()).await {
        Ok(Ok(evidence)) => Ok(evidence),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn problem(code: StatusCode, error: impl ToString) -> Response {
    (code, Json(Problem::new(error))).into_response()
}
