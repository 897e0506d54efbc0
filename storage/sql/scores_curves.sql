-- Temporary table: one row per explanation and control whose contexts have a probability or a value, of both classes.
-- AUROC: Mann-Whitney with midranks; its residuals are the components of DeLong, DeLong and Clarke-Pearson (1988).
-- AUPRC: average precision over distinct thresholds; its residuals are what leaving a context out changes, as the
-- jackknife has it. The variances are those of sums of residuals by question, as in Obuchowski (1997), the intervals
-- Wilson's at the effective size.
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

-- The residuals of each context, all of its class together 0.
contexts as (
    select
        judged.feature,
        judged.replicate,
        judged.control,
        judged.question,
        judged.truth,
        means.auroc,
        means.auprc,
        means.all_positives,
        means.all_negatives,
        case
            when judged.truth then (means.won - means.auroc) / means.all_positives
            else (means.lost - means.auroc) / means.all_negatives
        end as auroc_residual,
        case
            when judged.truth
                then
                    (means.mean_without_positive - means.auprc_without_positive)
                    * (means.all_positives - 1) / means.all_positives
            else
                (means.mean_without_negative - means.auprc_without_negative)
                * (means.all_negatives - 1) / means.all_negatives
        end as auprc_residual
    from judged
    inner join means using (feature, replicate, control, rank_by)
),

questions as (
    select
        feature,
        replicate,
        control,
        any_value(auroc) as auroc,
        any_value(auprc) as auprc,
        any_value(all_positives + all_negatives) as contexts,
        bool_or(truth) as has_positive,
        bool_or(not truth) as has_negative,
        coalesce(sum(auroc_residual) filter (where truth), 0) as auroc_positive,
        coalesce(sum(auroc_residual) filter (where not truth), 0) as auroc_negative,
        coalesce(sum(auprc_residual) filter (where truth), 0) as auprc_positive,
        coalesce(sum(auprc_residual) filter (where not truth), 0) as auprc_negative
    from contexts
    group by feature, replicate, control, question
),

areas as (
    select
        feature,
        replicate,
        control,
        any_value(auroc) as auroc,
        any_value(auprc) as auprc,
        any_value(contexts) as contexts,
        certainty(count(*), any_value(contexts)) as certain,
        clustered(
            sum(auroc_positive ** 2),
            count(*) filter (where has_positive),
            sum(auroc_negative ** 2),
            count(*) filter (where has_negative),
            sum(auroc_positive * auroc_negative),
            count(*)
        ) as auroc_variance,
        clustered(
            sum(auprc_positive ** 2),
            count(*) filter (where has_positive),
            sum(auprc_negative ** 2),
            count(*) filter (where has_negative),
            sum(auprc_positive * auprc_negative),
            count(*)
        ) as auprc_variance
    from questions
    group by feature, replicate, control
)

select
    feature,
    replicate,
    control,
    auroc,
    auprc,
    wilson(auroc, effective_size(auroc, auroc_variance, contexts, certain)) as auroc_interval,
    wilson(auprc, effective_size(auprc, auprc_variance, contexts, certain)) as auprc_interval
from areas
