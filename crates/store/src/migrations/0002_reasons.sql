-- Why somebody said no, for the agent; empty where nothing was said.
ALTER TABLE answers ADD COLUMN reason TEXT NOT NULL DEFAULT '';
