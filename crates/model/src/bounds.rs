//! Every constant bound of the house, its unit in the name and its reason beside it.
//!
//! A bound that a service may widen has a `_DEFAULT` suffix and a hard ceiling beside it.

/// A request head (request line and header fields) may be at most this long. 64 KiB is what nginx, Envoy and most
/// origins accept at their widest; beyond it an origin would refuse anyway.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Header fields in one request. Browsers send about 30; 100 is hyper's own default.
pub const HEADER_FIELDS_MAX: usize = 100;
/// Length of a request target. Longer URLs are refused by most origins (8 KiB at nginx).
pub const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Segments of one path; GitHub's deepest published path has 11.
pub const PATH_SEGMENTS_MAX: usize = 64;
/// Key-value pairs of one query or form.
pub const QUERY_PAIRS_MAX: usize = 1_000;
/// Host names are at most 253 octets (RFC 1035 2.3.4 less the root dot).
pub const HOST_BYTES_MAX: usize = 253;
/// A body is read for facts up to this size unless its service says otherwise; a larger one makes its facts unknown.
pub const BODY_FACT_BYTES_DEFAULT: usize = 1024 * 1024;
/// No service may ask for more of a body in memory than this.
pub const BODY_FACT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A body bound to an approval is held whole up to this size.
pub const APPROVAL_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Nesting of a JSON body whose facts are read.
pub const JSON_DEPTH_MAX: usize = 64;
/// Calls of one exchange (a GraphQL document, a batch, a push).
pub const CALLS_MAX: usize = 256;
/// Text of one fact; longer values are unknown to rules, never truncated silently.
pub const FACT_TEXT_BYTES_MAX: usize = 8 * 1024;
/// Text of one fact as it stands in an audit event; beyond it the value is cut and its length noted.
pub const FACT_AUDIT_BYTES_MAX: usize = 256;
/// Placeholders looked for in one session; more credentials than this in one session is a mistake.
pub const SESSION_PLACEHOLDERS_MAX: usize = 1_024;
/// Needles under this length are not searched in answers: they would match by chance.
pub const NEEDLE_BYTES_MIN: usize = 8;
/// Output of one decompressed answer relative to its input (a bomb has 1,000:1).
pub const DECOMPRESSION_RATIO_MAX: u64 = 200;
/// Leaf certificates kept; at about 2 KiB each this is 4 MiB.
pub const LEAVES_MAX: usize = 2_000;
/// Resolved names kept.
pub const NAMES_CACHED_MAX: usize = 4_000;
/// Idle upstream connections kept by one worker.
pub const POOL_IDLE_MAX: usize = 512;
/// Idle upstream connections kept for one key (agent, credential version, origin).
pub const POOL_IDLE_PER_KEY_MAX: usize = 64;
/// Open client connections of one process.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Exchanges under way for one session at once.
pub const EXCHANGES_PER_SESSION_MAX: usize = 1_024;
/// Open approvals of one agent at once (fatigue: attack 98).
pub const APPROVALS_OPEN_PER_AGENT_MAX: usize = 5;
/// One audit record; larger facts are cut before they come here.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;
/// A segment file of a lane is closed at this size.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A configuration file.
pub const CONFIG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A stored secret value. Certificates with keys are about 8 KiB.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Time to send a request head, seconds (slowloris).
pub const HEAD_SECONDS_MAX: u64 = 10;
/// Time of silence after which an open tunnel without an exchange is closed, seconds.
pub const IDLE_SECONDS_MAX: u64 = 120;
/// Time to connect to an upstream, TLS included, seconds.
pub const CONNECT_SECONDS_MAX: u64 = 10;
/// Time to the head of an answer unless the service says otherwise, seconds. Model calls take minutes.
pub const ANSWER_HEAD_SECONDS_DEFAULT: u64 = 300;
/// Time in which exchanges under way may finish when the process is told to stop, seconds.
pub const DRAIN_SECONDS_MAX: u64 = 30;
/// Changes of limits and revocations made by another process are seen within this, milliseconds.
pub const CHANGES_SEEN_MILLIS_MAX: u64 = 250;
/// A permit not used within this is dead, seconds.
pub const PERMIT_SECONDS_MAX: u64 = 60;
/// How long a person has to answer unless the rule says otherwise, seconds.
pub const APPROVAL_SECONDS_DEFAULT: u64 = 300;
/// A session ends by itself after this unless told otherwise, seconds.
pub const SESSION_SECONDS_DEFAULT: u64 = 12 * 60 * 60;
