-- One row per coder, explainer and scorer: how its reader answered the questions about each feature's own explanation,
-- or about the feature alone. An answer is the verdicts of a question in the order of its examples (`01001`), or the
-- number that was named; `right_share` is the share of questions to which the commonest one would have been right.
-- Places are the examples of a question, with how often the reader said yes there. `within_question_correlation` is
-- that of two verdicts on contexts of one class in one question, after subtracting the mean verdict of the class for
-- that explanation; `effective_weight` is how many independent verdicts each counts as then (1 / design effect), at
-- most 1.
with judged as (
    select
        coder,
        explainer,
        scorer,
        explainer = '-' as alone,
        replicate,
        feature,
        request,
        place,
        named,
        truth,
        verdict,
        status,
        coalesce(probability, verdict::double) as yes
    from judgements
    where control = 'none'
),

questions as (
    select
        coder,
        explainer,
        scorer,
        coalesce(any_value(named)::varchar, string_agg(verdict::integer::varchar, '' order by place)) as answer,
        if(
            count(named) > 0,
            any_value(place)::varchar,
            string_agg(truth::integer::varchar, '' order by place)
        ) as right_answer
    from judged
    where verdict is not null and place is not null
    group by coder, explainer, scorer, feature, replicate, request
),

answers as (
    select
        coder,
        explainer,
        scorer,
        answer,
        count(*) as times
    from questions
    group by coder, explainer, scorer, answer
),

commonest as (
    select
        coder,
        explainer,
        scorer,
        arg_max(answer, (times, answer)) as answer,
        max(times) / sum(times) as answer_share,
        sum(times)::bigint as answers
    from answers
    group by coder, explainer, scorer
),

rightly as (
    select
        coder,
        explainer,
        scorer,
        avg((questions.right_answer = commonest.answer)::integer) as right_share
    from questions
    inner join commonest using (coder, explainer, scorer)
    group by coder, explainer, scorer
),

by_place as (
    select
        coder,
        explainer,
        scorer,
        place,
        avg(yes) as yes
    from judged
    where place is not null and yes is not null
    group by coder, explainer, scorer, place
),

places as (
    select
        coder,
        explainer,
        scorer,
        list(yes order by place) as places
    from by_place
    group by coder, explainer, scorer
),

-- What a question adds to the verdicts on one class: how many, and by how much more are yes than of all of the class.
deviating as (
    select
        coder,
        explainer,
        scorer,
        replicate,
        feature,
        truth,
        request,
        verdict::integer - avg(verdict::integer) over class as deviation,
        count(*) over class as verdicts
    from judged
    where verdict is not null and place is not null and named is null
    window class as (partition by coder, explainer, scorer, replicate, feature, truth)
),

grouped as (
    select
        coder,
        explainer,
        scorer,
        replicate,
        feature,
        truth,
        any_value(verdicts) as verdicts,
        count(*) as members,
        sum(deviation) as deviation,
        sum(deviation ** 2) as squares
    from deviating
    group by coder, explainer, scorer, replicate, feature, truth, request
),

-- Deviations from their own mean lean against each other, by their variance over the number of verdicts: added again.
classes as (
    select
        coder,
        explainer,
        scorer,
        sum(members * (members - 1)) as pairs,
        any_value(verdicts) as verdicts,
        sum(squares) / any_value(verdicts - 1) as variance,
        sum(deviation ** 2 - squares) as products
    from grouped
    where verdicts > 1
    group by coder, explainer, scorer, replicate, feature, truth
    having count(*) > 1
),

correlated as (
    select
        coder,
        explainer,
        scorer,
        sum(products + pairs * variance / verdicts) / nullif(sum(pairs * variance), 0)
            as within_question_correlation,
        sum(pairs) / sum(verdicts) as others,
        sum(pairs) / 2 as pairs
    from classes
    group by coder, explainer, scorer
),

counted as (
    select
        coder,
        explainer,
        scorer,
        alone,
        count(*) as judgements,
        avg((status = 'failed')::integer) as failed_share,
        avg(verdict::integer) as yes_share,
        avg(truth::integer) filter (where verdict is not null) as true_share
    from judged
    group by coder, explainer, scorer, alone
)

select
    counted.coder,
    counted.explainer,
    counted.scorer,
    counted.alone,
    counted.judgements,
    counted.failed_share,
    counted.yes_share,
    counted.true_share,
    coalesce(places.places, []) as places,
    commonest.answer,
    commonest.answer_share,
    commonest.answers,
    rightly.right_share,
    correlated.within_question_correlation,
    1 / (1 + correlated.others * greatest(0, correlated.within_question_correlation)) as effective_weight,
    correlated.pairs
from counted
left join places using (coder, explainer, scorer)
left join commonest using (coder, explainer, scorer)
left join rightly using (coder, explainer, scorer)
left join correlated using (coder, explainer, scorer)
order by counted.alone, counted.scorer, counted.coder, counted.explainer
