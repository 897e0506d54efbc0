-- Temporary table `token_windows`, still empty: one row per feature and silent window that contains one of its tokens.
create or replace temporary table token_windows (
    feature integer,
    token integer,
    firings bigint,
    sequence bigint,
    start integer
)
