-- Temporary table: one row per explanation and control whose contexts of both classes have a probability: the mean
-- squared distance of the probability from the truth. Its variance is that of the sums of its residuals, each from its
-- class's mean, over questions; its interval is Wilson's at the effective size, which may be larger than the number of
-- contexts, since a squared distance varies less than a verdict.
create or replace temp table briers as
with distances as (
    select
        feature,
        replicate,
        control,
        question,
        truth,
        (probability::double - truth::integer) ** 2 as distance
    from judged
    where probability is not null
),

centred as (
    select
        *,
        distance - avg(distance) over (partition by feature, replicate, control, truth) as residual
    from distances
),

questions as (
    select
        feature,
        replicate,
        control,
        question,
        count(*) as contexts,
        sum(distance) as distance,
        coalesce(sum(residual) filter (where truth), 0) as positive,
        coalesce(sum(residual) filter (where not truth), 0) as negative,
        bool_or(truth) as has_positive,
        bool_or(not truth) as has_negative
    from centred
    group by feature, replicate, control, question
),

moments as (
    select
        feature,
        replicate,
        control,
        sum(contexts) as contexts,
        sum(distance) / sum(contexts) as brier,
        clustered(
            sum(positive ** 2),
            count(*) filter (where has_positive),
            sum(negative ** 2),
            count(*) filter (where has_negative),
            sum(positive * negative),
            count(*)
        ) / sum(contexts) ** 2 as variance,
        (
            1.959963985 / student(least(count(*) filter (where has_positive), count(*) filter (where has_negative)) - 1)
        ) ** 2 as certain
    from questions
    group by feature, replicate, control
    having bool_or(has_positive) and bool_or(has_negative)
)

select
    feature,
    replicate,
    control,
    brier,
    wilson(
        brier,
        case when variance is not null then certain * coalesce(brier * (1 - brier) / nullif(variance, 0), contexts) end
    ) as brier_interval
from moments
