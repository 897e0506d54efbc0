-- Macro: the share of one kind among all where it has the share `weight` of them, were both equally likely to be named,
-- and is named `ratio` times as readily as the other.
create or replace temp macro weighted(ratio, weight) as ratio * weight / nullif(ratio * weight + 1 - weight, 0)
