-- Temporary table: one row per explanation and control whose contexts have a probability or a value, of both classes.
-- AUROC: Mann-Whitney with midranks; its residuals are the components of DeLong, DeLong and Clarke-Pearson (1988).
-- AUPRC: average precision over distinct thresholds; its residuals are what leaving a context out changes, as the
-- jackknife has it. The variances are those of sums of residuals by question, as in Obuchowski (1997), and by
-- context where one is judged in two questions (two-way clusters, Cameron, Gelbach and Miller 2011); the intervals are
-- Wilson's at the effective size. Few activating contexts decide average precision, so that its degrees of freedom
-- heed that the variances of the two classes are found from the same questions.
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
        judged.context,
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
        any_value(all_positives) as all_positives,
        any_value(all_negatives) as all_negatives,
        bool_or(truth) as has_positive,
        bool_or(not truth) as has_negative,
        coalesce(sum(auroc_residual) filter (where truth), 0) as auroc_positive,
        coalesce(sum(auroc_residual) filter (where not truth), 0) as auroc_negative,
        coalesce(sum(auprc_residual) filter (where truth), 0) as auprc_positive,
        coalesce(sum(auprc_residual) filter (where not truth), 0) as auprc_negative
    from contexts
    group by feature, replicate, control, question
),

-- The same of contexts that are judged in two questions, once of each class.
pairs as (
    select
        feature,
        replicate,
        control,
        sum(auroc_residual) filter (where truth) * sum(auroc_residual) filter (where not truth) as auroc_product,
        sum(auprc_residual) filter (where truth) * sum(auprc_residual) filter (where not truth) as auprc_product
    from contexts
    inner join asked_twice using (feature, replicate, control, context)
    group by feature, replicate, control, context
),

crossed as (
    select
        feature,
        replicate,
        control,
        sum(auroc_product) as auroc_products,
        sum(auprc_product) as auprc_products
    from pairs
    group by feature, replicate, control
),

sums as (
    select
        feature,
        replicate,
        control,
        any_value(auroc) as auroc,
        any_value(auprc) as auprc,
        any_value(all_positives) as positives,
        any_value(all_negatives) as negatives,
        count(*) as questions,
        count(*) filter (where has_positive) as positive_questions,
        count(*) filter (where has_negative) as negative_questions,
        sum(auroc_positive ** 2) as auroc_positive_squares,
        sum(auroc_negative ** 2) as auroc_negative_squares,
        sum(auroc_positive * auroc_negative) as auroc_products,
        sum(auprc_positive ** 2) as auprc_positive_squares,
        sum(auprc_negative ** 2) as auprc_negative_squares,
        sum(auprc_positive * auprc_negative) as auprc_products
    from questions
    group by feature, replicate, control
),

variances as (
    select
        sums.*,
        clustered(auroc_positive_squares, positive_questions) as auroc_positive_variance,
        clustered(auroc_negative_squares, negative_questions) as auroc_negative_variance,
        clustered(sums.auroc_products + coalesce(crossed.auroc_products, 0), questions) as auroc_covariance,
        clustered(auprc_positive_squares, positive_questions) as auprc_positive_variance,
        clustered(auprc_negative_squares, negative_questions) as auprc_negative_variance,
        clustered(sums.auprc_products + coalesce(crossed.auprc_products, 0), questions) as auprc_covariance
    from sums
    left join crossed using (feature, replicate, control)
),

freedoms as (
    select
        *,
        satterthwaite(
            auroc_positive_variance, positive_questions, auroc_negative_variance, negative_questions, questions
        ) as auroc_df,
        if(
            questions < positives + negatives,
            satterthwaite_together(
                auprc_positive_variance, positive_questions, auprc_negative_variance, negative_questions, questions
            ),
            satterthwaite(
                auprc_positive_variance, positive_questions, auprc_negative_variance, negative_questions, questions
            )
        ) as auprc_df
    from variances
),

-- Step by step, since a macro is written out wherever its value is used.
factors as (
    select
        *,
        few_questions_factor(auroc_df) as auroc_factor,
        few_questions_factor(auprc_df) as auprc_factor,
        summed_variance(auroc_positive_variance, auroc_negative_variance, auroc_covariance) as auroc_variance,
        summed_variance(auprc_positive_variance, auprc_negative_variance, auprc_covariance) as auprc_variance
    from freedoms
),

sizes as (
    select
        *,
        area_size(auroc, auroc_variance, positives, negatives, auroc_factor) as auroc_size,
        area_size(auprc, auprc_variance, positives, negatives, auprc_factor) as auprc_size
    from factors
)

select
    feature,
    replicate,
    control,
    auroc,
    auprc,
    wilson(auroc, auroc_size) as auroc_interval,
    wilson(auprc, auprc_size) as auprc_interval
from sizes
