-- Macro: variance of the share hits / n of all contexts of one class, from sums over the questions that have some of
-- them: of hits^2, of hits times contexts, of contexts^2. It is that of independent contexts, share (1 - share) / n,
-- times the design effect: how much the sums of residuals by question vary, over how much they would if each context
-- had a question of its own. Sums of whole numbers are exact, so that it is 0 where questions do not vary.
create or replace temp macro share_variance(hits, n, hits_hits, hits_n, n_n, questions) as if(
    n = questions,
    hits / n * (1 - hits / n) / n,
    (hits_hits * n ** 2 - 2 * hits * hits_n * n + hits ** 2 * n_n)
    * questions / nullif(questions - 1, 0) * (n - 1) / n ** 5
)
