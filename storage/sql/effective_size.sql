-- Macro: the number of draws that give a share the variance that a score between 0 and 1 was found to have, at most n,
-- which are all contexts, and n where it does not vary at all. Null where the variance is not known.
create or replace temp macro effective_size(score, variance, n) as case
    when variance is not null then least(n, coalesce(score * (1 - score) / nullif(variance, 0), n))
end
