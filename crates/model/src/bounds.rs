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
/// A body bound to an approval is held in memory up to this size; a larger one lies in a file, sealed.
pub const APPROVAL_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A larger body than this no person is asked about: four times what a release's asset mostly has, and minutes of uploading.
pub const SPOOL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Octets of such files of one process at once; the disk holds records too.
pub const SPOOLED_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// The same for one session: two of the largest.
pub const SPOOLED_PER_SESSION_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Octets of request bodies that one process holds in memory for rules and people at once.
pub const BODIES_HELD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The same for one session: eight bodies of the largest kind.
pub const BODIES_HELD_PER_SESSION_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Time in which a body that is held must have come whole, seconds.
pub const BODY_HELD_SECONDS_MAX: u64 = 300;
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
/// An answer that hands out a secret is held whole up to this size; token endpoints answer with 2 to 10 KiB.
pub const CAPTURE_BYTES_MAX: usize = 256 * 1024;
/// Output of one decompressed answer relative to its input (a bomb has 1,000:1).
pub const DECOMPRESSION_RATIO_MAX: u64 = 200;
/// Leaf certificates kept; at about 2 KiB each this is 4 MiB.
pub const LEAVES_MAX: usize = 2_000;
/// Leaf certificates signed in one second; at 21 us each this is 4 % of a core, and twice what handshakes allow.
pub const LEAVES_PER_SECOND_MAX: u32 = 2_000;
/// Resolved names kept.
pub const NAMES_CACHED_MAX: usize = 4_000;
/// A resolved name is kept at least so long whatever its zone says, seconds (a TTL of 0 would be a look-up a request).
pub const NAME_SECONDS_MIN: u64 = 5;
/// And at most so long, seconds: what moves is found again within this.
pub const NAME_SECONDS_MAX: u64 = 300;
/// Idle upstream connections kept by one worker.
pub const POOL_IDLE_MAX: usize = 512;
/// Idle upstream connections kept for one key (agent, credential version, origin).
pub const POOL_IDLE_PER_KEY_MAX: usize = 64;
/// An idle upstream connection is closed after this, seconds; most origins close theirs at 60 to 120.
pub const POOL_IDLE_SECONDS_MAX: u64 = 90;
/// Streams on one HTTP/2 connection before another is opened; 100 is what origins announce.
pub const POOL_STREAMS_MAX: usize = 100;
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
/// Failures to connect in a row after which an origin is left alone by everybody.
pub const UPSTREAM_FAILURES_MAX: u32 = 5;
/// For so long at first, seconds: short for an upstream that starts again; each probe that fails doubles it, up to the second.
pub const UPSTREAM_OPEN_SECONDS: (u64, u64) = (2, 60);
/// Origins that fail at once and are remembered; an agent may name as many hosts as it likes.
pub const UPSTREAMS_BROKEN_MAX: usize = 1_024;
/// Time to the head of an answer unless the service says otherwise, seconds. Model calls take minutes.
pub const ANSWER_HEAD_SECONDS_DEFAULT: u64 = 300;
/// Silence in an answer's body unless the service says otherwise, seconds. Event streams send a comment every 15 to 60 s.
pub const ANSWER_IDLE_SECONDS_DEFAULT: u64 = 600;
/// Time in which exchanges under way may finish when the process is told to stop, seconds.
pub const DRAIN_SECONDS_MAX: u64 = 30;
/// Changes of limits and revocations made by another process are seen within this, milliseconds.
pub const CHANGES_SEEN_MILLIS_MAX: u64 = 250;
/// A permit not used within this is dead, seconds.
pub const PERMIT_SECONDS_MAX: u64 = 60;
/// How long a person has to answer unless the rule says otherwise, seconds.
pub const APPROVAL_SECONDS_DEFAULT: u64 = 300;
/// A client is held this long for a person's answer; then it is told that it is pending. Common clients give up after 300 to
/// 600 s.
pub const APPROVAL_HELD_SECONDS_MAX: u64 = 300;
/// An answer that its client did not wait for is kept this long for the identical request.
pub const APPROVAL_KEPT_SECONDS: u64 = 900;
/// A session ends by itself after this unless told otherwise, seconds.
pub const SESSION_SECONDS_DEFAULT: u64 = 12 * 60 * 60;
/// Least rate at which a request body that is waited for may come, octets a second (slow bodies).
pub const BODY_BYTES_PER_SECOND_MIN: u64 = 1024;
/// Verdicts of rules kept for the next request for the same action and resource; at about 300 bytes each this is 5 MiB.
pub const DECISIONS_CACHED_MAX: usize = 16_384;
/// Opened credentials kept in memory; more than this in use at once is several large teams.
pub const MATERIALS_CACHED_MAX: usize = 4_096;
/// A value read from a back end is used this long before it is read again, seconds. A change made by hand in a file or a
/// secret manager is live within it; a revocation does not wait for it.
pub const MATERIAL_FRESH_SECONDS: u64 = 60;
/// While its back end is away, the last good value is used this long after it was read, seconds.
pub const MATERIAL_HELD_SECONDS: u64 = 300;
/// No credential may ask for its value more often than this, or keep it longer without asking again, seconds.
pub const MATERIAL_FRESH_SECONDS_RANGE: (u64, u64) = (1, 3_600);
/// No credential may be used longer than this while its back end is away, seconds: what was revoked there meanwhile is not known here.
pub const MATERIAL_HELD_SECONDS_MAX: u64 = 24 * 60 * 60;
/// A file is read again when its value is this old, seconds: it costs a few microseconds, and whoever writes it looks at once.
pub const FILE_FRESH_SECONDS: u64 = 1;
/// After a failure a back end is left alone this long, seconds: short for a person who mends it, long for a hammer.
pub const BACKEND_REST_SECONDS: u64 = 2;
/// A value that its service refused is asked for anew at most this often, seconds: an agent may provoke refusals as often as it likes.
pub const RENEWAL_REST_SECONDS: u64 = 10;
/// Failures in a row after which a back end over the network is left alone by everybody.
pub const BACKEND_FAILURES_MAX: u32 = 5;
/// For so long at first, seconds; each try that fails doubles it, up to the second.
pub const BACKEND_OPEN_SECONDS: (u64, u64) = (5, 60);
/// A question to a back end over the network, connecting included, seconds. An agent's request waits for it.
pub const BACKEND_SECONDS_MAX: u64 = 10;
/// All questions that one value takes, and waiting for somebody else's log-in, seconds.
pub const BACKEND_VALUE_SECONDS_MAX: u64 = 20;
/// Connecting to one address of a back end, TLS included, seconds: another one may be the one that lives.
pub const BACKEND_CONNECT_SECONDS_MAX: u64 = 4;
/// An answer of a back end. A secret has 64 KiB at most, an item of a password manager some fields more, and JSON escapes.
pub const BACKEND_ANSWER_BYTES_MAX: usize = 512 * 1024;
/// Back ends of one configuration, and addresses of one of them.
pub const BACKENDS_MAX: usize = 32;
/// Addresses of one back end: the nodes of a cluster.
pub const BACKEND_ADDRESSES_MAX: usize = 8;
/// Leases that one process holds and ends when it ends.
pub const LEASES_MAX: usize = 4_096;
/// A program that prints a secret has this long, seconds; it may have to ask a server.
pub const EXEC_SECONDS_MAX: u64 = 30;
/// The system's keychain has this long, seconds; it may have to ask a person to unlock it.
pub const KEYCHAIN_SECONDS_MAX: u64 = 30;
/// Memory of the passphrase derivation, KiB: at least 64 MiB (OWASP asks for 19, RFC 9106 recommends 64).
pub const ARGON2_KIB_MIN: u32 = 64 * 1024;
/// No stored parameter may ask for more, KiB: a vault file from elsewhere must not exhaust the machine.
pub const ARGON2_KIB_MAX: u32 = 1024 * 1024;
/// A grant lasts so long unless its agent asks otherwise, seconds.
pub const GRANT_SECONDS_DEFAULT: u64 = 300;
/// And at most so long, unless the permission says otherwise (`max_ttl`), seconds.
pub const GRANT_SECONDS_MAX: u64 = 3_600;
/// Grants of one session that live or wait for a person: each is looked at when one of its calls needs a grant.
pub const GRANTS_PER_SESSION_MAX: usize = 64;
/// Words for actions, and resources, of one part of a request for a grant: what a task needs, not a list of all there is.
pub const GRANT_WORDS_MAX: usize = 16;
/// Octets of one of them.
pub const GRANT_WORD_BYTES_MAX: usize = 512;
