//! What PostgreSQL's catalog says depends on tables, by one query for all of them.

use super::{
    super::{
        Error,
        dependants::{Dependants, dependants_of},
    },
    Asked,
};
use crate::odbc::Session;

/// Of what hangs on another object by `pg_depend` those are listed in words of their own that are met every day; of the rest
/// the server says itself what it is. A policy, trigger, check or default of the table itself hangs on its columns as well.
///
/// Grants to the owner go without saying. Who may not make a table in the schema cannot be given one there.
const DEPENDANTS: &str = "\
WITH t AS (SELECT c.oid, n.oid AS schema, n.nspname, c.relname, c.relkind, c.reltype, c.relowner, c.relacl, c.relrowsecurity \
  FROM unnest(CAST(? AS text[]), CAST(? AS text[])) AS asked (nspname, relname) \
  JOIN pg_namespace n ON n.nspname = asked.nspname JOIN pg_class c ON c.relnamespace = n.oid \
  AND c.relname = asked.relname WHERE c.relkind IN ('r', 'p', 'f')), \
on_t AS (SELECT t.oid AS table_oid, t.nspname, t.relname, d.classid, d.objid FROM t \
  JOIN pg_depend d ON d.refclassid = CAST('pg_class' AS regclass) AND d.refobjid = t.oid AND d.deptype = 'n' \
UNION SELECT t.oid, t.nspname, t.relname, d.classid, d.objid FROM t \
  JOIN pg_depend d ON d.refclassid = CAST('pg_type' AS regclass) AND d.refobjid = t.reltype AND d.deptype = 'n') \
SELECT nspname, relname, role, what, name, of_schema, of_table, rule FROM ( \
SELECT t.nspname, t.relname, 1 AS place, 'key' AS role, '' AS what, CAST(k.conname AS text) AS name, \
    CAST(n.nspname AS text) AS of_schema, CAST(c.relname AS text) AS of_table, CAST(k.confdeltype AS text) AS rule \
  FROM t JOIN pg_constraint k ON k.confrelid = t.oid AND k.contype = 'f' AND k.conrelid <> t.oid \
  JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
UNION SELECT o.nspname, o.relname, 2, 'held', CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, \
    n.nspname || '.' || c.relname, NULL, NULL, NULL \
  FROM on_t o JOIN pg_rewrite r ON r.oid = o.objid AND o.classid = CAST('pg_rewrite' AS regclass) \
  JOIN pg_class c ON c.oid = r.ev_class AND c.oid <> o.table_oid JOIN pg_namespace n ON n.oid = c.relnamespace \
UNION SELECT o.nspname, o.relname, 3, 'held', '', pg_describe_object(o.classid, o.objid, 0), NULL, NULL, NULL FROM on_t o \
  WHERE o.classid NOT IN (CAST('pg_rewrite' AS regclass), CAST('pg_constraint' AS regclass), \
    CAST('pg_trigger' AS regclass), CAST('pg_attrdef' AS regclass)) \
  AND NOT EXISTS (SELECT 1 FROM pg_policy p WHERE o.classid = CAST('pg_policy' AS regclass) AND p.oid = o.objid \
    AND p.polrelid = o.table_oid) \
UNION SELECT t.nspname, t.relname, 4, 'held', 'trigger', CAST(g.tgname AS text), NULL, NULL, NULL \
  FROM t JOIN pg_trigger g ON g.tgrelid = t.oid WHERE NOT g.tgisinternal \
UNION SELECT t.nspname, t.relname, 5, 'held', 'rule', CAST(r.rulename AS text), NULL, NULL, NULL \
  FROM t JOIN pg_rewrite r ON r.ev_class = t.oid \
UNION SELECT t.nspname, t.relname, 6, 'held', 'policy', CAST(p.polname AS text), NULL, NULL, NULL \
  FROM t JOIN pg_policy p ON p.polrelid = t.oid \
UNION SELECT t.nspname, t.relname, 7, 'held', 'row level security', '', NULL, NULL, NULL FROM t WHERE t.relrowsecurity \
UNION SELECT t.nspname, t.relname, 8, 'held', 'place in', n.nspname || '.' || c.relname, NULL, NULL, NULL \
  FROM t JOIN pg_inherits i ON i.inhrelid = t.oid JOIN pg_class c ON c.oid = i.inhparent \
  JOIN pg_namespace n ON n.oid = c.relnamespace \
UNION SELECT t.nspname, t.relname, 9, 'gone', CASE WHEN k.contype = 'u' THEN 'unique constraint' \
    WHEN k.contype = 'x' THEN 'exclusion constraint' WHEN i.indisunique THEN 'unique index' ELSE 'index' END, \
    CAST(c.relname AS text), NULL, NULL, NULL \
  FROM t JOIN pg_index i ON i.indrelid = t.oid AND NOT i.indisprimary JOIN pg_class c ON c.oid = i.indexrelid \
  LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = t.oid AND k.contype IN ('u', 'x') \
UNION SELECT t.nspname, t.relname, 10, 'gone', 'partitions', '', NULL, NULL, NULL FROM t WHERE t.relkind = 'p' \
UNION SELECT t.nspname, t.relname, 11, 'gone', 'place in publication', CAST(p.pubname AS text), NULL, NULL, NULL \
  FROM t JOIN pg_publication_rel r ON r.prrelid = t.oid JOIN pg_publication p ON p.oid = r.prpubid \
UNION SELECT t.nspname, t.relname, 12, 'given', '', format('GRANT %s ON %I.%I TO %s%s', \
    string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type), t.nspname, t.relname, \
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, \
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), NULL, NULL, NULL \
  FROM t CROSS JOIN LATERAL aclexplode(t.relacl) a WHERE a.grantee <> t.relowner \
  GROUP BY t.nspname, t.relname, a.grantee, a.is_grantable \
UNION SELECT t.nspname, t.relname, 13, 'given', '', format('GRANT %s ON %I.%I TO %s%s', \
    string_agg(format('%s (%I)', a.privilege_type, o.attname), ', ' ORDER BY a.privilege_type), t.nspname, t.relname, \
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, \
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), CAST(o.attname AS text), NULL, NULL \
  FROM t JOIN pg_attribute o ON o.attrelid = t.oid AND o.attacl IS NOT NULL AND NOT o.attisdropped \
  CROSS JOIN LATERAL aclexplode(o.attacl) a WHERE a.grantee <> t.relowner \
  GROUP BY t.nspname, t.relname, o.attname, a.grantee, a.is_grantable \
UNION SELECT t.nspname, t.relname, 14, CASE WHEN may THEN 'given' ELSE 'gone' END, 'owner', CASE WHEN may \
    THEN format('ALTER TABLE %I.%I OWNER TO %I', t.nspname, t.relname, pg_get_userbyid(t.relowner)) \
    ELSE pg_get_userbyid(t.relowner) END, NULL, NULL, NULL \
  FROM t CROSS JOIN LATERAL (SELECT pg_has_role(t.relowner, 'MEMBER') \
    AND has_schema_privilege(t.relowner, t.schema, 'CREATE') AS may) AS giving \
  WHERE pg_get_userbyid(t.relowner) <> current_user) AS listed ORDER BY place, name";

/// What depends on each of these tables.
pub(super) fn dependants(session: &Session, asked: &Asked) -> Result<Vec<Dependants>, Error> {
    let rows = session.text_rows(DEPENDANTS, &[&asked.schemas, &asked.names])?;
    // Whatever becomes of rows: the server drops and truncates no table that others refer to.
    let mut found = dependants_of(rows, |_| {
        let reason = |what: &str| Some(format!("the server {what} no table that others refer to"));
        [reason("drops"), reason("truncates")]
    });
    let relations = asked.relations.iter();
    Ok(relations
        .map(|relation| found.remove(relation).unwrap_or_default())
        .collect())
}
