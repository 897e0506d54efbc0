-- One row per coder and explainer that explained different features with the same words, whatever their letter case,
-- blanks and final stop: how many features share their words with another one, and the text that most of them have.
with told as (
    select
        coder,
        explainer,
        feature,
        rtrim(lower(regexp_replace(trim(text), '\s+', ' ', 'g')), '. ') as words,
        min(text) as text
    from explanations
    where status = 'ok'
    group by all
),

shared as (
    select
        coder,
        explainer,
        words,
        min(text) as text,
        count(*) as features
    from told
    group by coder, explainer, words
),

counted as (
    select
        told.coder,
        told.explainer,
        count(distinct told.feature) as explained,
        count(distinct told.feature) filter (where shared.features > 1) as alike
    from told
    inner join shared using (coder, explainer, words)
    group by told.coder, told.explainer
),

commonest as (
    select
        coder,
        explainer,
        features as most,
        text
    from shared
    qualify row_number() over (partition by coder, explainer order by features desc, words) = 1
)

select
    counted.coder,
    counted.explainer,
    counted.explained,
    counted.alike,
    commonest.most,
    commonest.text
from counted
inner join commonest using (coder, explainer)
where counted.alike > 0
order by counted.coder, counted.explainer
