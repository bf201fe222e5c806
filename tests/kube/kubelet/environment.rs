//! A container's variables, and texts with variables in them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Secret};
use kube::{Api, Client, ResourceExt};

/// Variables by name.
pub(crate) type Variables = BTreeMap<String, String>;

/// Those of a container: values, fields of its pod, keys of secrets.
pub(crate) async fn of(
    client: &Client,
    pod: &Pod,
    container: &Container,
) -> Result<Variables, String> {
    let mut variables = Variables::new();
    for variable in container.env.iter().flatten() {
        let value = value(client, pod, variable, &variables).await?;
        variables.insert(variable.name.clone(), value);
    }
    Ok(variables)
}

async fn value(
    client: &Client,
    pod: &Pod,
    variable: &EnvVar,
    known: &Variables,
) -> Result<String, String> {
    let Some(source) = &variable.value_from else {
        return Ok(expanded(variable.value.as_deref().unwrap_or_default(), known));
    };
    if let Some(field) = &source.field_ref {
        return field_of(pod, &field.field_path)
            .ok_or_else(|| format!("{}: no field {}", variable.name, field.field_path));
    }
    let Some(key) = &source.secret_key_ref else {
        return Err(format!("{}: its source is not known here", variable.name));
    };
    let secrets: Api<Secret> =
        Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let secret = secrets.get(&key.name).await.map_err(|error| error.to_string())?;
    let bytes = secret.data.and_then(|mut data| data.remove(&key.key));
    let bytes = bytes.ok_or_else(|| format!("secret {}: no key {}", key.name, key.key))?;
    String::from_utf8(bytes.0).map_err(|error| error.to_string())
}

/// Fields of the downward API; an annotation or label that is not there is empty.
fn field_of(pod: &Pod, path: &str) -> Option<String> {
    let key = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']").map(str::to_owned);
    if let Some(key) = key("metadata.annotations['") {
        return Some(pod.annotations().get(&key).cloned().unwrap_or_default());
    }
    if let Some(key) = key("metadata.labels['") {
        return Some(pod.labels().get(&key).cloned().unwrap_or_default());
    }
    match path {
        "metadata.name" => Some(pod.name_any()),
        "metadata.namespace" => pod.namespace(),
        "metadata.uid" => pod.uid(),
        "spec.nodeName" => pod.spec.as_ref()?.node_name.clone(),
        "status.podIP" | "status.hostIP" => Some("127.0.0.1".to_owned()),
        _ => None,
    }
}

/// As Kubernetes does it: `$(NAME)` is a variable's value if there is such a one, `$$` is a `$`.
pub(crate) fn expanded(text: &str, variables: &Variables) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let name = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((value, after)) =
            name.and_then(|(name, after)| Some((variables.get(name)?, after)))
        {
            result.push_str(value);
            rest = after;
        } else {
            result.push('$');
        }
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_expanded_as_kubernetes_does_it() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in [
            ("$(A) $(B) $$(A) $A", "1 $(B) $(A) $A"),
            ("$$$(A) $$$$ $", "$1 $$ $"),
            ("$((A))", "$((A))"),
        ] {
            assert_eq!(expanded(text, &variables), expected);
        }
    }
}
