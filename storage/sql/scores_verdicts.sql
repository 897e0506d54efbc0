-- Temporary table: one row per explanation and control with recall, specificity, and specificity over contexts of kind
-- silent, which stand for the corpus: their variances by question and their intervals, Wilson's at the effective size.
-- A choice is right or wrong, and so are verdicts on one class alone: neither has what compares two classes.
create or replace temp table verdicts as
with shares as (
    select
        *,
        positives + negatives as answered,
        hits / nullif(positives, 0) as hit_rate,
        rejections / nullif(negatives, 0) as specificity,
        silent_rejections / nullif(silents, 0) as silent_specificity,
        share_variance(hits, positives, hits_hits, hits_positives, positives_positives, positive_questions)
            as hit_variance,
        share_variance(
            rejections,
            negatives,
            rejections_rejections,
            rejections_negatives,
            negatives_negatives,
            negative_questions
        ) as specificity_variance,
        share_variance(
            silent_rejections,
            silents,
            silent_rejections_silent_rejections,
            silent_rejections_silents,
            silents_silents,
            silent_questions
        ) as silent_variance
    from counts
),

sizes as (
    select
        *,
        effective_size(hit_rate, hit_variance, positives, positives_positives, positive_questions) as hit_size,
        effective_size(specificity, specificity_variance, negatives, negatives_negatives, negative_questions)
            as specificity_size,
        effective_size(silent_specificity, silent_variance, silents, silents_silents, silent_questions)
            as silent_size
    from shares
)

select
    *,
    case when classes = 2 then hit_rate end as recall,
    wilson(hit_rate, hit_size) as hit_interval,
    wilson(specificity, specificity_size) as specificity_interval,
    wilson(silent_specificity, silent_size) as silent_interval,
    shrunk_correlation(
        share_correlation(
            hit_rate,
            positives,
            hit_variance,
            specificity,
            negatives,
            specificity_variance,
            hits_rejections,
            hits_negatives,
            positives_rejections,
            positives_negatives,
            questions
        ),
        least(positive_questions, negative_questions)
    ) as correlation,
    shrunk_correlation(
        share_correlation(
            hit_rate,
            positives,
            hit_variance,
            silent_specificity,
            silents,
            silent_variance,
            hits_silent_rejections,
            hits_silents,
            positives_silent_rejections,
            positives_silents,
            questions
        ),
        least(positive_questions, silent_questions)
    ) as silent_correlation
from sizes
