-- Rotations under way, one a credential; `step` is the last that is done.
CREATE TABLE rotations (
    tenant TEXT NOT NULL, credential TEXT NOT NULL, ticket TEXT NOT NULL, old_version {int} NOT NULL, new_version {int} NOT NULL,
    step TEXT NOT NULL, reason TEXT NOT NULL, began {int} NOT NULL, retire {int},
    PRIMARY KEY (tenant, credential)
){strict};
