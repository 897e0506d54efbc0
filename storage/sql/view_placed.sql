-- View `placed`: one row per row of `tested`, with the keys of the row of `summary` on which it stands. Scores that
-- need no explanation stand on every row of their feature.
create or replace view placed as
select
    run,
    coder,
    feature,
    explainer,
    replicate,
    false as alone,
    * exclude (run, coder, feature, explainer, replicate)
from tested
where explainer != '-'
union all
select
    features.run,
    features.coder,
    features.feature,
    explanations.explainer,
    explanations.replicate,
    true as alone,
    tested.* exclude (run, coder, feature, explainer, replicate)
from features
inner join tested using (run, coder, feature)
left join explanations using (run, coder, feature)
where tested.explainer = '-'
