-- Temporary table: one row per explanation and control: how many judgements of each kind it has, and how the right
-- verdicts of its two classes spread over questions, as sums of products over questions. Judgements of one context in
-- two questions, once of each class, as with fuzzing's `marks: active`, are correlated as those of one question are:
-- their products are added (two-way clusters, Cameron, Gelbach and Miller 2011).
create or replace temp table counts as
with questions as (
    select
        coder,
        feature,
        explainer,
        replicate,
        control,
        explanation_of,
        scorer,
        question,
        count(coalesce(verdict::float, rank_by, len(simulated))) as n,
        count(*) filter (where status = 'failed') as n_failed,
        count(rank_by) as ranked,
        count(simulated) as simulations,
        bool_or(truth) as some_active,
        bool_or(not truth) as some_silent,
        count(*) filter (where truth and verdict)::double as hits,
        count(verdict) filter (where truth)::double as positives,
        count(*) filter (where not truth and not verdict)::double as rejections,
        count(verdict) filter (where not truth)::double as negatives,
        count(*) filter (where kind = 'silent' and not truth and not verdict)::double as silent_rejections,
        count(verdict) filter (where kind = 'silent' and not truth)::double as silents
    from judged
    group by all
),

pairs as (
    select
        feature,
        replicate,
        control,
        count(*) filter (where truth and verdict)::double as hits,
        count(verdict) filter (where truth)::double as positives,
        count(*) filter (where not truth and not verdict)::double as rejections,
        count(verdict) filter (where not truth)::double as negatives
    from judged
    inner join asked_twice using (feature, replicate, control, context)
    group by feature, replicate, control, context
),

crossed as (
    select
        feature,
        replicate,
        control,
        sum(hits * rejections) as hits_rejections_apart,
        sum(hits * negatives) as hits_negatives_apart,
        sum(positives * rejections) as positives_rejections_apart,
        sum(positives * negatives) as positives_negatives_apart
    from pairs
    group by feature, replicate, control
)

select
    coder,
    feature,
    explainer,
    replicate,
    control,
    explanation_of,
    scorer,
    sum(n)::bigint as n,
    sum(n_failed)::bigint as n_failed,
    sum(ranked) as ranked,
    sum(simulations) as simulations,
    bool_or(some_active)::integer + bool_or(some_silent)::integer as classes,
    count(*) filter (where positives + negatives > 0) as questions,
    count(*) filter (where positives > 0) as positive_questions,
    count(*) filter (where negatives > 0) as negative_questions,
    count(*) filter (where silents > 0) as silent_questions,
    sum(hits) as hits,
    sum(positives) as positives,
    sum(rejections) as rejections,
    sum(negatives) as negatives,
    sum(silent_rejections) as silent_rejections,
    sum(silents) as silents,
    sum(hits * hits) as hits_hits,
    sum(hits * positives) as hits_positives,
    sum(positives * positives) as positives_positives,
    sum(rejections * rejections) as rejections_rejections,
    sum(rejections * negatives) as rejections_negatives,
    sum(negatives * negatives) as negatives_negatives,
    sum(silent_rejections * silent_rejections) as silent_rejections_silent_rejections,
    sum(silent_rejections * silents) as silent_rejections_silents,
    sum(silents * silents) as silents_silents,
    sum(hits * rejections) + coalesce(any_value(hits_rejections_apart), 0) as hits_rejections,
    sum(hits * negatives) + coalesce(any_value(hits_negatives_apart), 0) as hits_negatives,
    sum(positives * rejections) + coalesce(any_value(positives_rejections_apart), 0) as positives_rejections,
    sum(positives * negatives) + coalesce(any_value(positives_negatives_apart), 0) as positives_negatives,
    sum(hits * silent_rejections) as hits_silent_rejections,
    sum(hits * silents) as hits_silents,
    sum(positives * silent_rejections) as positives_silent_rejections,
    sum(positives * silents) as positives_silents
from questions
left join crossed using (feature, replicate, control)
group by coder, feature, explainer, replicate, control, explanation_of, scorer
