-- Temporary table: one row per explanation and control with what follows from recall r and specificity s together.
-- Accuracy and balanced accuracy are weighted means of the two, with MOVER's interval, and null where a class was asked
-- about and all of it failed; precision, F1 and weighted precision grow with the ratio of r to 1 - s, or for F1 to
-- 1 + (1 - s) negatives / positives, with MOVER-R's. Both heed the correlation of r and s by question.
create or replace temp table combined as
with ends as (
    select
        feature,
        replicate,
        control,
        classes,
        positives,
        negatives,
        recall,
        specificity,
        recall is not null and specificity is not null as both_classes,
        case
            when classes = 1 or (recall is not null and specificity is not null)
                then (hits + rejections) / nullif(answered, 0)
        end as accuracy,
        positives / nullif(answered, 0) as positive_share,
        hit_interval,
        specificity_interval,
        correlation,
        hits / nullif(hits + negatives - rejections, 0) as precision,
        2 * hits / nullif(positives + hits + negatives - rejections, 0) as f1,
        recall - hit_interval['low'] as recall_below,
        hit_interval['high'] - recall as recall_above,
        specificity - specificity_interval['low'] as specificity_below,
        specificity_interval['high'] - specificity as specificity_above,
        1 - specificity as alarms,
        1 - specificity_interval['high'] as alarms_low,
        1 - specificity_interval['low'] as alarms_high,
        1 - silent_specificity as silent_alarms,
        1 - silent_interval['high'] as silent_alarms_low,
        1 - silent_interval['low'] as silent_alarms_high,
        silent_correlation
    from verdicts
),

-- Recall over what it is compared with, and the other way round: a ratio may have no end above, its reciprocal has one
-- below. A false alarm is what specificity lacks, so that the sign of the correlation turns.
ratios as (
    select
        *,
        ratio_low(recall, hit_interval['low'], alarms, alarms_high, -correlation) as recall_over_alarms_low,
        ratio_low(alarms, alarms_low, recall, hit_interval['high'], -correlation) as alarms_over_recall_low,
        ratio_low(recall, hit_interval['low'], silent_alarms, silent_alarms_high, -silent_correlation)
            as recall_over_silent_alarms_low,
        ratio_low(silent_alarms, silent_alarms_low, recall, hit_interval['high'], -silent_correlation)
            as silent_alarms_over_recall_low,
        ratio_low(
            recall,
            hit_interval['low'],
            1 + alarms * negatives / positives,
            1 + alarms_high * negatives / positives,
            -correlation
        ) as recall_over_named_low,
        ratio_low(
            1 + alarms * negatives / positives,
            1 + alarms_low * negatives / positives,
            recall,
            hit_interval['high'],
            -correlation
        ) as named_over_recall_low
    from ends
)

select
    feature,
    replicate,
    control,
    accuracy,
    (recall + specificity) / 2 as balanced_accuracy,
    case
        when classes = 1 then coalesce(hit_interval['low'], specificity_interval['low'])
        else accuracy - mover(positive_share, recall_below, 1 - positive_share, specificity_below, correlation)
    end as accuracy_low,
    case
        when classes = 1 then coalesce(hit_interval['high'], specificity_interval['high'])
        else accuracy + mover(positive_share, recall_above, 1 - positive_share, specificity_above, correlation)
    end as accuracy_high,
    (recall + specificity) / 2 - mover(0.5, recall_below, 0.5, specificity_below, correlation)
        as balanced_accuracy_low,
    (recall + specificity) / 2 + mover(0.5, recall_above, 0.5, specificity_above, correlation)
        as balanced_accuracy_high,
    case when both_classes then precision end as precision,
    case
        when both_classes and precision is not null then weighted(recall_over_alarms_low, positive_share)
    end as precision_low,
    case
        when both_classes and precision is not null then 1 - weighted(alarms_over_recall_low, 1 - positive_share)
    end as precision_high,
    case when both_classes then f1 end as f1,
    case when both_classes then 2 * recall_over_named_low / (1 + recall_over_named_low) end as f1_low,
    case when both_classes then 2 / (1 + named_over_recall_low) end as f1_high,
    recall_over_silent_alarms_low,
    silent_alarms_over_recall_low
from ratios
