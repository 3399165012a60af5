//! What is refused of `[sinks]`, and where the error points.

use super::*;
use crate::config::Config;

const PIN: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn error(text: &str) -> String {
    Config::parse(text, &[]).unwrap_err().to_string()
}

#[test]
fn a_sink_with_everything_is_read_and_shown_as_it_was() {
    let text = format!(
        "[sinks.lab]\nproxy = \"http://me@proxy.example:3128\"\n\
         [sinks.lab.proxy_password]\nfile = \"/etc/sonde/proxy\"\n\
         [sinks.lab.tls]\ncertificate = \"/etc/sonde/c.pem\"\nkey = \"/etc/sonde/k.pem\"\n\
         pins = [\"{PIN}\", \"sha256/{PIN}\"]\n\
         [sinks.lab.hec]\nurl = \"https://splunk.example:8088\"\n[sinks.lab.hec.token]\ncredential = \"hec\""
    );
    let config = Config::parse(&text, &[]).unwrap();
    let lab = config.sinks.values().next().unwrap();
    assert_eq!(lab.tls.pins.iter().map(ToString::to_string).collect::<Vec<_>>(), [PIN, PIN]);
    assert_eq!(lab.proxy.get(), Some("http://me@proxy.example:3128"));
    assert_eq!(Config::parse(&config.to_toml(), &[]), Ok(config));
}

#[test]
fn a_sink_is_reached_in_exactly_one_way() {
    let none = error("\n[sinks.a]\ngzip = false");
    assert!(none.contains("line 2") && none.contains("exactly one table"), "{none}");
    let two = error("\n[sinks.a.file]\n[sinks.a.notice]\n");
    assert!(two.contains("line 2") && two.contains("exactly one table"), "{two}");
    assert!(error("[sinks.a]\nrecords = []\n[sinks.a.file]").contains("records is empty"));
}

#[test]
fn more_sinks_than_there_is_room_for_are_refused() {
    let text = |count: usize| (0..count).map(|i| format!("[sinks.s{i}.file]\n")).collect::<String>();
    assert_eq!(Config::parse(&text(MAX_SINKS), &[]).unwrap().sinks.len(), MAX_SINKS);
    let error = error(&text(MAX_SINKS + 1));
    assert!(error.contains("17 sinks, and 16 are the most"), "{error}");
}

#[test]
fn an_index_and_the_way_in_are_checked() {
    let elastic = |lines: &str| Config::parse(&format!("[sinks.a.elastic]\n{lines}"), &[]);
    for good in
        ["index = \"logs-sonde-default\"", "index = \".alerts\"", "user = \"me\"\npassword.env = \"P\""]
    {
        assert!(elastic(good).is_ok(), "{good}");
    }
    for (bad, wanted) in [
        ("index = \"\"", "no name of an index"),
        ("index = \"../_all\"", "no name of an index"),
        ("index = \"_all\"", "no name of an index"),
        ("index = \"Alerts\"", "no name of an index"),
        ("index = \"a/b\"", "no name of an index"),
        ("user = \"me\"", "elastic.password"),
        ("password.env = \"P\"", "elastic.user"),
        ("user = \"me\"\npassword.env = \"P\"\napi_key.env = \"K\"", "only one"),
        ("user = \"a:b\"\npassword.env = \"P\"", "colon"),
    ] {
        let error = elastic(bad).unwrap_err().to_string();
        assert!(error.contains(wanted), "{bad}: {error}");
    }
}

#[test]
fn a_webhook_has_one_url() {
    for (lines, wanted) in
        [("", "set webhook.url or"), ("url = \"http://a\"\nsecret_url.env = \"U\"", "set only one")]
    {
        let error = error(&format!("[sinks.a.webhook]\n{lines}"));
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_value_that_is_wrong_alone_is_pointed_at() {
    for (line, wanted) in [
        ("tls.pins = [\"abc\"]", "is no pin"),
        ("tls.pins = [\"AAAA\"]", "is no pin"),
        ("tls.certificate = \"/c.pem\"", "tls.certificate needs tls.key"),
        ("tls.key = \"/k.pem\"", "tls.key needs tls.certificate"),
        ("proxy = \"proxy:3128\"", "neither http:// nor https://"),
        ("proxy = \"http://me:geheim@proxy:3128\"", "proxy_password"),
        ("proxy = \"http://proxy:3128/path\"", "not of the form"),
        ("proxy = \"http://\"", "not of the form"),
        ("proxy = \"http://a b\"", "spaces"),
        ("proxy_password.env = \"X\"", "needs a user"),
        ("proxy_password = { env = \"X\", file = \"/x\" }", "only one of"),
        ("proxy_password = { credential = \"../shadow\" }", "is no name for credential"),
        ("proxy_password = { env = \"a=b\" }", "is no name for env"),
        ("proxy_password = \"geheim\"", "a table that names file"),
    ] {
        let error = error(&format!("[sinks.a]\n{line}\n[sinks.a.file]"));
        assert!(error.contains(wanted) && error.contains("line "), "{line}: {error}");
    }
}

#[test]
fn what_leads_to_sentinel_is_checked() {
    let sentinel = |lines: &str| Config::parse(&format!("[sinks.a.sentinel]\n{lines}"), &[]);
    let rule = "rule = \"dcr-0123456789abcdef0123456789abcdef\"";
    let app =
        "tenant = \"contoso.example\"\nclient = \"11111111-2222-3333-4444-555555555555\"\nsecret.env = \"S\"";
    for good in ["", "client = \"1-2\"", app, "alert_stream = \"Custom-Other-1_CL\""] {
        assert!(sentinel(&format!("{rule}\n{good}")).is_ok(), "{good}");
    }
    let config = sentinel(&format!("{rule}\n{app}")).unwrap();
    assert_eq!(Config::parse(&config.to_toml(), &[]), Ok(config));
    for (bad, wanted) in [
        ("tenant = \"a\"", "sentinel.client"),
        ("tenant = \"a\"\nclient = \"b\"", "sentinel.secret"),
        ("secret.env = \"S\"", "sentinel.tenant"),
        ("tenant = \"../x\"\nclient = \"b\"\nsecret.env = \"S\"", "sentinel.tenant has to be"),
        ("client = \"b&c\"", "sentinel.client has to be"),
        ("scope = \"https://monitor.azure.us\"", "/.default"),
        ("alert_stream = \"SondeAlert_CL\"", "is no stream"),
        ("sensor_stream = \"Custom-a/b\"", "is no stream"),
        ("summary_stream = \"Custom-\"", "is no stream"),
    ] {
        let error = sentinel(&format!("{rule}\n{bad}")).unwrap_err().to_string();
        assert!(error.contains(wanted), "{bad}: {error}");
    }
    for bad in ["", "rule = \"sonde\"", "rule = \"dcr-1/../x\""] {
        assert!(sentinel(bad).unwrap_err().to_string().contains("sentinel.rule"), "{bad}");
    }
    let ocsf = error(&format!("[sinks.a]\nform = \"ocsf\"\n[sinks.a.sentinel]\n{rule}"));
    assert!(ocsf.contains("native form"), "{ocsf}");
}
