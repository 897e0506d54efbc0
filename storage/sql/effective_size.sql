-- Macro: the number of independent draws that give a share the variance that it was found to have, times the factor for
-- few questions, at most n, which are all contexts. Where each context has its own question nothing has to be
-- estimated, and the factor is 1. Where the share does not vary at all, as one of 0 or 1 cannot, n times the factor.
-- Null where the variance is not known.
create or replace temp macro effective_size(share, variance, n, questions) as case
    when variance is null then null
    when n = questions then n
    when share <= 0 or share >= 1 or variance <= 0 then n * few_questions_factor(questions - 1)
    else least(n, few_questions_factor(questions - 1) * share * (1 - share) / variance)
end
