//! The AWS command line. It signs its requests, so there is no token to swap: what is proven is trust and the proxy.

use super::{PLAIN, Probe};

pub(super) const AWS: Probe = Probe {
    subject: "aws",
    programs: &["aws"],
    needs: r#""$PROGRAM" --version"#,
    script: r#"export AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_MAX_ATTEMPTS=1
exec "$PROGRAM" s3api list-buckets --no-sign-request --endpoint-url https://open.valetkey.test"#,
    swaps: false,
    mend: "this aws honours neither HTTPS_PROXY nor AWS_CA_BUNDLE; look at `ca_bundle` in ~/.aws/config",
    ..PLAIN
};
