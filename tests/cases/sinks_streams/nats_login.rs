//! NATS with accounts as a fleet has them: an operator vouches for an account, the account for users, and a `.creds` file holds
//! what one user shows (JWT) and signs with (the seed of an nkey). All keys are made here.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use async_nats::jetstream::{self, stream};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use nkeys::KeyPair;
use serde_json::{Value, json};
use sonde::sink::Outcome;
use sonde_tests::servers::nats;

use super::{Shipping, is_all, is_later, records};

/// What `signer` says of `subject`, as nats-server reads it (JWT v2, signed by an nkey).
fn jwt(signer: &KeyPair, subject: &KeyPair, name: &str, said: &Value) -> String {
    let head = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let claims = json!({
        "jti": name, "iat": 1_700_000_000, "iss": signer.public_key(), "name": name, "sub": subject.public_key(), "nats": said,
    });
    let text = [head, claims].map(|part| BASE64.encode(part.to_string())).join(".");
    let signature = signer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", BASE64.encode(signature))
}

fn account(operator: &KeyPair, name: &str) -> (KeyPair, String) {
    let key = KeyPair::new_account();
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let limits = if name == "SYS" {
        json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1})
    } else {
        limits
    };
    let said = json!({"limits": limits, "default_permissions": {"pub": {}, "sub": {}}, "type": "account", "version": 2});
    let jwt = jwt(operator, &key, name, &said);
    (key, jwt)
}

/// The credentials of a user who may publish below this subject and hear the answers.
fn credentials(account: &KeyPair, subject: &str) -> String {
    let key = KeyPair::new_user();
    let said = json!({
        "pub": {"allow": [subject]}, "sub": {"allow": ["_INBOX.>", subject]},
        "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2,
    });
    let jwt = jwt(account, &key, "sensor", &said);
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        key.seed().unwrap()
    )
}

fn private(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[test]
fn a_credentials_file_lets_a_sensor_publish_and_no_other_does() {
    let folder = tempfile::tempdir().unwrap();
    let operator = KeyPair::new_operator();
    let vouched = jwt(&operator, &operator, "O", &json!({"type": "operator", "version": 2}));
    let ((system, system_jwt), (fleet, fleet_jwt)) = (account(&operator, "SYS"), account(&operator, "FLEET"));
    let node = nats::alone(
        folder.path(),
        &format!(
            "operator: {vouched}\nsystem_account: {0}\nresolver: MEMORY\nresolver_preload: {{ {0}: {system_jwt}, {1}: {fleet_jwt} }}",
            system.public_key(),
            fleet.public_key()
        ),
    );
    let shipping = |name: &str, text: &str| {
        let file = private(folder.path(), name, text);
        Shipping::new(&format!(
            "timeout_secs = 3\n[sinks.a.nats]\nurls = [\"{}\"]\ncredentials.file = \"{file}\"",
            node.url()
        ))
    };
    let mut sensor = shipping("sensor.creds", &credentials(&fleet, "sonde.>"));
    let everything = credentials(&fleet, ">");
    let mut stream = sensor.runtime.block_on(async {
        let admin = async_nats::ConnectOptions::with_credentials(&everything).unwrap();
        let context = jetstream::new(admin.connect(node.url()).await.unwrap());
        let config = stream::Config {
            name: "SONDE".into(),
            subjects: vec!["sonde.>".into()],
            ..stream::Config::default()
        };
        context.create_stream(config).await.unwrap()
    });
    let batch = records(0..8);
    let delivery = sensor.deliver(&batch);
    assert!(is_all(&delivery, &Outcome::Acknowledged), "{delivery:?}");
    sensor.runtime.block_on(async {
        for (sequence, sent) in (1..).zip(&batch) {
            let kept = stream.get_raw_message(sequence).await.unwrap();
            assert_eq!(kept.headers.get("Nats-Msg-Id").unwrap().as_str(), sent.id);
            assert_eq!(&kept.payload[..], &sent.body[..]);
        }
    });
    // Of an account that the server does not know; and a file that is none.
    let mut stranger = shipping("stranger.creds", &credentials(&KeyPair::new_account(), "sonde.>"));
    let delivery = stranger.deliver(&batch);
    assert!(is_later(&delivery, "check user, token or credentials"), "{delivery:?}");
    let delivery = shipping("none.creds", "no credentials").deliver(&batch);
    assert!(is_later(&delivery, "a .creds file is wanted"), "{delivery:?}");
    // One that may publish elsewhere alone is let in, and nothing of its records is taken.
    let mut other = shipping("other.creds", &credentials(&fleet, "elsewhere.>"));
    let delivery = other.deliver(&batch);
    assert!(is_later(&delivery, ""), "{delivery:?}");
    // New credentials in the same file are taken up with the next connection.
    private(folder.path(), "stranger.creds", &credentials(&fleet, "sonde.>"));
    let delivery = stranger.deliver(&records(8..12));
    assert!(is_all(&delivery, &Outcome::Acknowledged), "{delivery:?}");
    let held = sensor.runtime.block_on(async { stream.info().await.unwrap().state.messages });
    assert_eq!(held, 12, "what was refused is not there");
}
