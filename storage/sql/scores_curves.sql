-- Temporary table: one row per explanation and control whose contexts have a probability or a value, of both classes.
-- AUROC: Mann-Whitney with midranks; its variance by DeLong, DeLong and Clarke-Pearson (1988). AUPRC: average precision
-- over distinct thresholds; its variance by the jackknife over contexts, class by class. The intervals are Wilson's at
-- the effective size.
create or replace temp table curves as
with ranked as (
    select
        feature,
        replicate,
        control,
        rank_by,
        count(*) filter (where truth) as positives,
        count(*) filter (where not truth) as negatives
    from judged
    where rank_by is not null
    group by feature, replicate, control, rank_by
),

thresholds as (
    select
        *,
        sum(positives) over everything as all_positives,
        sum(negatives) over everything as all_negatives,
        sum(positives) over above as positives_above,
        sum(negatives) over above as negatives_above,
        sum(positives + negatives) over above as above
    from ranked
    window
        everything as (partition by feature, replicate, control),
        above as (partition by feature, replicate, control order by rank_by desc)
),

-- What a context at this threshold adds to the areas: for a positive the share of negatives below it, for a negative
-- the share of positives above it; precision here, also with one positive or one negative less.
parts as (
    select
        *,
        1 - (negatives_above - negatives / 2) / all_negatives as won,
        (positives_above - positives / 2) / all_positives as lost,
        positives * positives_above / above as gain,
        coalesce(positives * (positives_above - 1) / nullif(above - 1, 0), 0) as gain_without_positive,
        coalesce((positives_above - 1) / nullif(above - 1, 0), 0) as precision_without_positive,
        coalesce(positives * positives_above / nullif(above - 1, 0), 0) as gain_without_negative
    from thresholds
    where all_positives > 0 and all_negatives > 0
),

-- Average precision when one positive, or one negative, of this threshold is left out; of one alone none can be.
left_out as (
    select
        *,
        (
            sum(gain) over above - gain + sum(gain_without_positive) over below - precision_without_positive
        ) / nullif(all_positives - 1, 0) as auprc_without_positive,
        (sum(gain) over above - gain + sum(gain_without_negative) over below) / all_positives as auprc_without_negative
    from parts
    window
        above as (partition by feature, replicate, control order by rank_by desc),
        below as (
            partition by feature, replicate, control
            order by rank_by desc
            rows between current row and unbounded following
        )
),

means as (
    select
        *,
        sum(positives * won) over everything / all_positives as auroc,
        sum(gain) over everything / all_positives as auprc,
        sum(positives * auprc_without_positive) over everything / all_positives as mean_without_positive,
        sum(negatives * auprc_without_negative) over everything / all_negatives as mean_without_negative
    from left_out
    window everything as (partition by feature, replicate, control)
),

areas as (
    select
        feature,
        replicate,
        control,
        any_value(auroc) as auroc,
        any_value(auprc) as auprc,
        any_value(all_positives + all_negatives) as contexts,
        sum(positives * (won - auroc) ** 2) / nullif(any_value(all_positives * (all_positives - 1)), 0)
        + sum(negatives * (lost - auroc) ** 2) / nullif(any_value(all_negatives * (all_negatives - 1)), 0)
            as auroc_variance,
        sum(positives * (auprc_without_positive - mean_without_positive) ** 2)
        * any_value((all_positives - 1) / all_positives)
        + sum(negatives * (auprc_without_negative - mean_without_negative) ** 2)
        * any_value((all_negatives - 1) / nullif(all_negatives, 1))
            as auprc_variance
    from means
    group by feature, replicate, control
)

select
    feature,
    replicate,
    control,
    auroc,
    auprc,
    wilson(auroc, effective_size(auroc, auroc_variance, contexts)) as auroc_interval,
    wilson(auprc, effective_size(auprc, auprc_variance, contexts)) as auprc_interval
from areas
