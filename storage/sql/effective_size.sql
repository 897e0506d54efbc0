-- Macro: the number of independent draws that give a share the variance that it was found to have, times the factor for
-- few questions. It is at most n, all contexts, and at least n^2 / n_n, with n_n the sum over questions of contexts^2:
-- what is left where all verdicts of a question are alike (Kish 1965). These bounds take away much of what Student's t
-- guards against. Its degrees of freedom are therefore more than questions - 1, namely by three, or where there are
-- fewer than five questions by two less than there are; a normal share is then covered in 92 to 98 % for design effects
-- up to 2, and three questions or more. Where each context has its own question nothing has to be estimated, and the
-- factor is 1. Where the share does not vary at all, as one of 0 or 1 cannot, n times the factor. Null where the
-- variance is not known.
create or replace temp macro effective_size(share, variance, n, n_n, questions) as case
    when variance is null then null
    when n = questions then n
    else
        greatest(
            n ** 2 / n_n,
            least(
                n,
                few_questions_factor(questions - 1 + least(3, questions - 2))
                * if(share <= 0 or share >= 1 or variance <= 0, n, share * (1 - share) / variance)
            )
        )
end
