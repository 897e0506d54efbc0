-- Temporary table: one row per explanation and control whose contexts of both classes have a probability: the mean
-- squared distance of the probability from the truth. Its variance is that of the sums of its residuals, each from its
-- class's mean, over questions, and over contexts that are in two of them; its interval is Wilson's at the effective
-- size, which may be larger than the number of contexts, since a squared distance varies less than a verdict. Degrees
-- of freedom are two fewer than Satterthwaite's, but not for that fewer than 2.5: a few large distances decide, and
-- with few questions their inequality is underestimated.
create or replace temp table briers as
with distances as (
    select
        feature,
        replicate,
        control,
        question,
        context,
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

-- Of contexts that are judged in two questions, once of each class.
pairs as (
    select
        feature,
        replicate,
        control,
        sum(residual) filter (where truth) * sum(residual) filter (where not truth) as product
    from centred
    inner join asked_twice using (feature, replicate, control, context)
    group by feature, replicate, control, context
),

crossed as (
    select
        feature,
        replicate,
        control,
        sum(product) as products
    from pairs
    group by feature, replicate, control
),

sums as (
    select
        feature,
        replicate,
        control,
        sum(contexts) as contexts,
        sum(distance) / sum(contexts) as brier,
        count(*) as questions,
        count(*) filter (where has_positive) as positive_questions,
        count(*) filter (where has_negative) as negative_questions,
        sum(positive ** 2) / sum(contexts) ** 2 as positive_squares,
        sum(negative ** 2) / sum(contexts) ** 2 as negative_squares,
        sum(positive * negative) as products
    from questions
    group by feature, replicate, control
    having bool_or(has_positive) and bool_or(has_negative)
),

variances as (
    select
        sums.*,
        clustered(positive_squares, positive_questions) as positive_variance,
        clustered(negative_squares, negative_questions) as negative_variance,
        clustered(sums.products + coalesce(crossed.products, 0), questions) / contexts ** 2 as covariance
    from sums
    left join crossed using (feature, replicate, control)
),

freedoms as (
    select
        *,
        satterthwaite(positive_variance, positive_questions, negative_variance, negative_questions, questions) as df
    from variances
),

sizes as (
    select
        *,
        few_questions_factor(greatest(least(2.5, df), df - 2)) * coalesce(
            brier * (1 - brier) / nullif(summed_variance(positive_variance, negative_variance, covariance), 0),
            contexts
        ) as size
    from freedoms
)

select
    feature,
    replicate,
    control,
    brier,
    wilson(brier, case when positive_variance + negative_variance is not null then size end) as brier_interval
from sizes
