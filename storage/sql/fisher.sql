-- Macro: Fisher's transform of a correlation, finite for a perfect one.
create or replace temp macro fisher(r) as atanh(greatest(-1 + 1e-12, least(1 - 1e-12, r)))
