-- Access that an agent asked for at run time. `scopes`, `cut`, `rules` and `consent` are JSON of the policy's own types.
CREATE TABLE grants (
    tenant TEXT NOT NULL, id TEXT NOT NULL, session TEXT NOT NULL, agent TEXT NOT NULL, author TEXT NOT NULL, scopes TEXT NOT NULL,
    cut TEXT NOT NULL, rules TEXT NOT NULL, justification TEXT NOT NULL, task TEXT, ttl {int} NOT NULL, approval TEXT,
    consent TEXT, state TEXT NOT NULL, asked {int} NOT NULL, expires {int}, ended {int}, reason TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
){strict};
CREATE INDEX grants_by_state ON grants (tenant, state, expires);
CREATE INDEX grants_by_session ON grants (tenant, session);
