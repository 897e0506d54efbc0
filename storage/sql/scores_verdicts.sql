-- Temporary table: one row per explanation and control with all that follows from counts. A choice is right or wrong,
-- and so are verdicts on one class alone: neither has what compares two classes.
-- Balanced accuracy: Wilson's interval for each class, combined for the mean of two independent shares by MOVER (Zou
-- and Donner 2008). F1: Wilson's interval at the effective size by the jackknife over contexts, class by class.
create or replace temp table verdicts as
with counted as (
    select
        coder,
        feature,
        explainer,
        replicate,
        control,
        explanation_of,
        scorer,
        count(coalesce(verdict::float, rank_by, len(simulated))) as n,
        count(*) filter (where status = 'failed') as n_failed,
        count(verdict) as answered,
        count(rank_by) as ranked,
        count(simulated) as simulations,
        count(distinct truth) as classes,
        count(*) filter (where verdict = truth) as right_verdicts,
        count(*) filter (where truth and verdict) as hits,
        count(verdict) filter (where truth) as positives,
        count(*) filter (where not truth and not verdict) as rejections,
        count(verdict) filter (where not truth) as negatives,
        count(*) filter (where kind = 'random' and not truth and not verdict) as random_rejections,
        count(verdict) filter (where kind = 'random' and not truth) as randoms,
        case
            when count(distinct truth) filter (where probability is not null) = 2
                then avg((probability::double - truth::integer) ** 2)
        end as brier
    from judged
    group by all
),

rates as (
    select
        *,
        right_verdicts / nullif(answered, 0) as accuracy,
        case when classes = 2 then hits / nullif(positives, 0) end as recall,
        rejections / nullif(negatives, 0) as specificity,
        random_rejections / nullif(randoms, 0) as random_specificity,
        case
            when positives > 0 and negatives > 0 then hits / nullif(hits + negatives - rejections, 0)
        end as precision,
        case
            when positives > 0 and negatives > 0 then 2 * hits / (positives + hits + negatives - rejections)
        end as f1,
        -- F1 without one of the hits, and without one context that was taken wrongly, either way.
        coalesce(2 * (hits - 1) / nullif(positives + hits + negatives - rejections - 2, 0), 0) as f1_hit,
        coalesce(2 * hits / nullif(positives + hits + negatives - rejections - 1, 0), 0) as f1_miss
    from counted
),

jackknifed as (
    select
        *,
        (recall + specificity) / 2 as balanced_accuracy,
        -- Of two values within a class: their squared difference times what is in either, by the size of the class.
        (positives - 1) / nullif(positives, 1) * hits * (positives - hits) / positives * (f1_hit - f1_miss) ** 2
        + (negatives - 1) / nullif(negatives, 1) * rejections * (negatives - rejections) / negatives
        * (f1 - f1_miss) ** 2 as f1_variance
    from rates
),

intervals as (
    select
        *,
        wilson(accuracy, answered) as accuracy_interval,
        wilson(recall, positives) as recall_interval,
        wilson(specificity, negatives) as specificity_interval,
        wilson(f1, effective_size(f1, f1_variance, answered)) as f1_interval
    from jackknifed
)

select
    *,
    accuracy_interval['low'] as accuracy_low,
    accuracy_interval['high'] as accuracy_high,
    balanced_accuracy - sqrt(
        (recall - recall_interval['low']) ** 2 + (specificity - specificity_interval['low']) ** 2
    ) / 2 as balanced_accuracy_low,
    balanced_accuracy + sqrt(
        (recall_interval['high'] - recall) ** 2 + (specificity_interval['high'] - specificity) ** 2
    ) / 2 as balanced_accuracy_high,
    f1_interval['low'] as f1_low,
    f1_interval['high'] as f1_high
from intervals
