-- Whether a scheduler ever ticked is asked with every health pulse, 30 days back. Where one does, the first rows answer;
-- where none does, all of them were read. With this index neither reads more than a few.
--
-- Cost on a filled database: none at once. The index is made for new parts; in those of before, all rows are read until a
-- merge rewrites them or retention drops them. At each insert two small files more.

ALTER TABLE agnes.otel_logs ADD INDEX IF NOT EXISTS by_client_kind ClientKind TYPE set(32);
