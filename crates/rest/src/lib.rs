//! The REST face: HTTP over a unix socket, an engine call, JSON back.
//!
//! `server` lets clients in; `routes/` has one file for each group of paths,
//! whose handlers do nothing but translate; `failure` maps the engine's errors
//! to HTTP's, and nothing else does. Paths and types are crate `api`'s; the
//! OpenAPI document is made from them and served at `/api/v1/openapi.json`.

mod convert;
mod failure;
pub mod limits;
mod routes;
mod server;

pub use server::{Server, Serving};
