//! What an exchange means: its outcome. Pure.

use http::StatusCode;

use crate::model::attempt::Outcome;
use crate::outbound::SendFailure;

/// Names the outcome of an exchange.
pub fn classify(result: &Result<StatusCode, SendFailure>) -> Outcome {
    match result {
        Ok(status) if status.is_success() => Outcome::Delivered,
        Ok(status) if status.is_redirection() => Outcome::Redirected,
        Ok(status) if status.is_client_error() => Outcome::ClientError,
        Ok(status) if status.is_server_error() => Outcome::ServerError,
        Ok(_) => Outcome::UnexpectedResponse,
        Err(SendFailure::AddressForbidden(_)) => Outcome::AddressForbidden,
        Err(SendFailure::ConnectFailed(_)) => Outcome::ConnectFailed,
        Err(SendFailure::TimedOut(_)) => Outcome::TimedOut,
        Err(SendFailure::ConnectionLost(_)) => Outcome::ConnectionLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_the_outcome_of_its_class() {
        for code in 100..1000 {
            let expected = match code {
                200..300 => Outcome::Delivered,
                300..400 => Outcome::Redirected,
                400..500 => Outcome::ClientError,
                500..600 => Outcome::ServerError,
                _ => Outcome::UnexpectedResponse,
            };
            assert_eq!(classify(&Ok(StatusCode::from_u16(code).unwrap())), expected, "{code}");
        }
    }

    #[test]
    fn every_failure_has_its_outcome() {
        let text = String::new;
        let cases = [
            (SendFailure::AddressForbidden(text()), Outcome::AddressForbidden),
            (SendFailure::ConnectFailed(text()), Outcome::ConnectFailed),
            (SendFailure::TimedOut(text()), Outcome::TimedOut),
            (SendFailure::ConnectionLost(text()), Outcome::ConnectionLost),
        ];
        for (failure, outcome) in cases {
            assert_eq!(classify(&Err(failure)), outcome);
        }
    }
}
