-- Temporary table `spoken`, still empty: one row per feature, token and group of shards in which it fires on the token.
create or replace temporary table spoken (
    feature integer,
    token integer,
    firings bigint,
    total hugeint,
    strongest float
)
