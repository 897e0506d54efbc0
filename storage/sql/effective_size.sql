-- Macro: the number of independent draws that give a share the variance that a score between 0 and 1 was found to have,
-- times `certain`, at most n, which are all contexts. Where it does not vary at all, as a score of 0 or 1 cannot, n
-- times `certain`. Null where the variance is not known.
create or replace temp macro effective_size(score, variance, n, certain) as case
    when variance is null or certain is null then null
    when score <= 0 or score >= 1 or variance <= 0 then n * certain
    else least(n, certain * score * (1 - score) / variance)
end
